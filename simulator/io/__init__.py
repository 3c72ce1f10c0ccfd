"""I/O complexity of attention and products: lower bounds, exact counts of real algorithms, tiles and what fits on chip.

Pure functions over arrays; a bound or a count always belongs to one pair of memory levels, which the caller names by
the capacity it gives.
"""
