"""Predicting tables: kernels and serving results that others measured, row by row, each with a band and a reason.

A table is read whole, grouped by what chooses a kernel, and priced a group at a time. A row that cannot be priced
keeps its place and says why.
"""
