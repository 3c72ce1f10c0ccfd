"""The command line: one thin file per command, each a facade function and a table."""
