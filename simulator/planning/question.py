"""The question of a plan: what is asked, of which machine, and what is free to choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from kvwall.simulator.planning.load import Load

Objective = Literal["cost", "throughput", "latency"]
OBJECTIVES: tuple[Objective, ...] = ("cost", "throughput", "latency")


@dataclass(frozen=True)
class Targets:
    """What an answer must keep; ``None`` where anything goes.

    :ivar ttft_s: mean time to first token, the wait for a place in the batch included
    :ivar tpot_s: mean time per output token
    :ivar budget_usd_per_hour: rent of the whole deployment
    :ivar quality_loss: metric and the largest published loss in it, in the metric's own unit
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    budget_usd_per_hour: float | None = None
    quality_loss: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Freedom:
    """What the planner may choose from; ``None`` is its own default.

    :ivar schemes: stacks
    :ivar weights: weight formats
    :ivar batches: sequences of the whole deployment
    :ivar tp: tensor-parallel degrees
    :ivar pp: pipeline degrees
    """

    schemes: tuple[str, ...] | None = None
    weights: tuple[str, ...] | None = None
    batches: tuple[int, ...] | None = None
    tp: tuple[int, ...] | None = None
    pp: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Question:
    """A plan to make.

    :ivar model: name, Hugging Face id or path
    :ivar on: ``DEVICE[:N]``
    :ivar options: other fields of an inquiry, as they were given
    :ivar scenario: the scenario it was taken from, if any
    :ivar notes: what was read out of the scenario in a way worth telling
    """

    model: str
    on: str
    options: dict[str, Any]
    load: Load
    targets: Targets
    freedom: Freedom
    objective: Objective = "cost"
    scenario: str | None = None
    notes: tuple[str, ...] = ()
