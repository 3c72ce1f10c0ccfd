"""The planner: every split, weight format, scheme and batch on one machine, priced, filtered and ranked.

The flow is one way: a :class:`~kvwall.simulator.planning.question.Question` becomes combinations, each combination a
row of service figures over its batches, and the rows one choice.
"""
