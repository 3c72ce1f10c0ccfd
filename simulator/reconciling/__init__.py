"""What an engine's start-up log states, held against what kvwall predicts, line by line."""
