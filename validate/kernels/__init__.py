"""Real kernels, one access pattern a file, each with a reference in float64.

A pattern is a module with one function, ``prepare(case, source)``, which allocates fresh random inputs and returns a
:class:`~kvwall.validate.kernels.trial.Trial`: what to run, what it must equal, and what it moves. The folder is the
registry: :func:`kvwall.validate.kernels.case.load_pattern` finds a pattern by its file name. ``case`` imports neither
torch nor triton, so that suites can be listed without them.
"""
