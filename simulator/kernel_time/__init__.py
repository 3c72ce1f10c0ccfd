"""How long one kernel takes: a discrete plan from the library's own rules, then a critical path against memory.

One file per access pattern. Each holds pure functions over arrays and the few numbers that are fitted; which numbers a
device and a library have stands in ``hardware/calibrations``.
"""
