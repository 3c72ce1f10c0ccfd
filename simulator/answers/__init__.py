"""Answers: one facade function per command, which returns the object that ``--json`` prints."""
