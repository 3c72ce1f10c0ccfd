"""Operators of one step of a transformer, each a few terms that one kernel pays at once."""
