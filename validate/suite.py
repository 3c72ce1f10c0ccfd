"""What a campaign measures: lists of cases, made without torch.

A suite is families of cases. Their order is random but always the same, so that a campaign that is cut short has
measured a bit of everything, and so that ``quick`` is a fair part of ``standard``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from math import ceil

from kvwall.hardware.errors import unknown_name
from kvwall.validate.environment import Environment
from kvwall.validate.kernels.case import TRITON_PATTERNS, Case
from kvwall.validate.suite_cpu import cpu_cases
from kvwall.validate.suite_gpu import gpu_families
from kvwall.validate.suite_tiny import tiny_cases

SUITES = ("quick", "standard", "tiny")

#: Part of each family that ``quick`` takes, and the fewest of it.
_QUICK_PART = 0.2
_QUICK_FEWEST = 2

#: Seconds after which a campaign stops, to be resumed: a suite may not take longer however slow the device is.
TIME_LIMITS_S = {"quick": 150.0, "standard": 480.0, "tiny": 60.0}
CPU_TIME_LIMIT_S = 110.0

#: Seconds of samples of one point.
BUDGETS_S = {"cuda": 0.15, "cpu": 0.25}

#: Part of that for the repeats of one peak of a data sheet in one pass.
SHEET_PART = 0.4


def suite_cases(suite: str, here: Environment) -> tuple[Case, ...]:
    """The cases of ``suite`` on a machine, in the order in which they are measured.

    :raises UnknownNameError: no such suite
    """
    if suite not in SUITES:
        raise unknown_name("suite", suite, SUITES)
    if suite == "tiny":
        return tuple(tiny_cases(here.device))
    families = list(cpu_cases()) if here.device == "cpu" else list(gpu_families(here))
    chosen = [_shuffled(family) for family in families]
    if suite == "quick":
        chosen = [family[: max(_QUICK_FEWEST, ceil(_QUICK_PART * len(family)))] for family in chosen]
    return tuple(_shuffled(case for family in chosen for case in family))


def cannot_run(case: Case, here: Environment, has_triton: bool) -> str | None:
    """Why ``case`` is left out on this machine, or ``None``."""
    if case.pattern in TRITON_PATTERNS:
        if here.device == "cpu":
            return "a Triton kernel needs a GPU"
        if not has_triton:
            return "needs triton: pip install triton"
    return None


def _shuffled(cases: Iterable[Case]) -> list[Case]:
    return sorted(cases, key=lambda case: hashlib.blake2b(case.key.encode(), digest_size=8).digest())
