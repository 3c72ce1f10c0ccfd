"""Scenarios: one file that says which model, on what, for whom, and what to compare."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from kvwall.hardware.document import Document
from kvwall.hardware.library import Library
from kvwall.hardware.quantity import Seconds, UsdPerHour, parse_quantity
from kvwall.workloads.numbers import MOST_POINTS, MOST_SEQUENCES, MOST_TOKENS, counts_from
from kvwall.workloads.workload import IntArray, RequestClass, Workload


def _counts(lowest: int, highest: int, example: str) -> Any:
    return BeforeValidator(partial(counts_from, lowest=lowest, highest=highest, example=example))


def _time(lowest_s: float, highest_s: float, example: str) -> Any:
    # A bare 50 is 50 seconds: the bound catches who meant milliseconds.
    return BeforeValidator(lambda value: parse_quantity(value, "s", lowest_s, highest_s, example))


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Tokens = Annotated[tuple[int, ...], _counts(1, MOST_TOKENS, "8k")]
TokensOrZero = Annotated[tuple[int, ...], _counts(0, MOST_TOKENS, "8k")]
Sequences = Annotated[tuple[int, ...], _counts(1, MOST_SEQUENCES, "64")]
Degrees = Annotated[tuple[int, ...], _counts(1, 1024, "4,8")]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
TtftTarget = Annotated[float, _time(1e-4, 3600, "2 s")]
TpotTarget = Annotated[float, _time(1e-5, 10, "50 ms")]


class Requests(Document):
    """Requests of one kind; each length is a number, a list or a range (``"1k..64k*2"``)."""

    input_tokens: Tokens = Field(alias="input", description="prompt tokens, the shared prefix included")
    output_tokens: Tokens = Field(alias="output")
    shared_prefix_tokens: TokensOrZero = Field((0,), alias="shared_prefix")


class SharedRequests(Requests):
    """One class of a mix."""

    name: str
    share: float = Field(gt=0, le=1)


class Targets(Document):
    """How fast an answer must be."""

    ttft_s: TtftTarget | None = Field(None, alias="ttft")
    tpot_s: TpotTarget | None = Field(None, alias="tpot")


class Prices(Document):
    """What the reader pays, in place of the device file's price."""

    device_hour_usd: UsdPerHour | None = Field(None, alias="device_hour")
    electricity_usd_per_kwh: float | None = Field(None, ge=0, le=100)


class Scenario(Document):
    """A question with everything it needs: model, machines, requests, targets and what to compare.

    Exactly one of ``workload`` (one kind of request) and ``mix`` (several, shares adding up to 1) is given. Names of
    models, devices, formats and schemes are looked up by whoever answers the question.
    """

    name: str = "scenario"
    aliases: tuple[str, ...] = ()
    title: str = ""
    source: str = ""
    model: str
    # YAML 1.1 reads a bare ``on`` as the boolean true, whose key becomes the text "True".
    on: str = Field(validation_alias=AliasChoices("on", "True"), description="DEVICE[:N], as after --on")
    nodes: int | None = Field(None, ge=1, le=100_000)
    engine: str = "vllm"
    workload: Requests | None = None
    mix: tuple[SharedRequests, ...] = ()
    users: Sequences = (1,)
    think_time_s: Seconds = Field(0.0, alias="think_time")
    targets: Targets = Targets()
    weights: Names = ("bf16",)
    schemes: Names = ("none",)
    tp: Degrees | None = Field(None, description="tensor-parallel degrees to try; all that fit when left out")
    pp: Degrees | None = Field(None, description="pipeline degrees to try; all that fit when left out")
    objective: Literal["cost", "throughput", "latency"] = "cost"
    max_quality_loss: dict[str, float] = Field(default_factory=dict)
    prices: Prices = Prices()
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Scenario:
        if (self.workload is None) == (not self.mix):
            raise ValueError("give exactly one of 'workload' (one kind of request) and 'mix' (several)")
        names = [part.name for part in self.mix]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"mix: the name {repeated!r} stands twice")
        total = sum(part.share for part in self.mix)
        if self.mix and abs(total - 1) > 1e-6:
            raise ValueError(f"mix: the shares add up to {total:g}, not to 1")
        for part in self._parts():
            if max(part.shared_prefix_tokens) > min(part.input_tokens):
                label = f"mix {part.name!r}" if isinstance(part, SharedRequests) else "workload"
                prefix, prompt = max(part.shared_prefix_tokens), min(part.input_tokens)
                raise ValueError(f"{label}: shared_prefix {prefix} is longer than input {prompt}")
        points = int(np.prod([len(values) for values in self.axes.values()], dtype=float))
        if points > MOST_POINTS:
            raise ValueError(f"its ranges make {points:,} points (at most {MOST_POINTS:,})")
        return self

    @property
    def axes(self) -> dict[str, tuple[int, ...]]:
        """Each range of the scenario by name, in the order of the axes of :meth:`to_workload`'s arrays."""
        return {name: values for name, values in self._fields() if len(values) > 1}

    def to_workload(self) -> Workload:
        """The workload: a single number is an array without axes, and each range lies on an axis of its own."""
        axes = list(self.axes)
        arrays = {name: _on_axis(values, axes, name) for name, values in self._fields()}
        classes = [self._request_class(part, arrays) for part in self._parts()]
        targets = self.targets
        return Workload.of(classes, arrays["users"], self.think_time_s, targets.ttft_s, targets.tpot_s)

    def _request_class(self, part: Requests, arrays: dict[str, IntArray]) -> RequestClass:
        name, share = (part.name, part.share) if isinstance(part, SharedRequests) else ("requests", 1.0)
        return RequestClass.of(
            input_tokens=arrays[f"{name}.input"],
            output_tokens=arrays[f"{name}.output"],
            shared_prefix_tokens=arrays[f"{name}.shared_prefix"],
            share=share,
            name=name,
        )

    def _parts(self) -> tuple[Requests, ...]:
        return self.mix if self.workload is None else (self.workload,)

    def _fields(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for part in self._parts():
            name = part.name if isinstance(part, SharedRequests) else "requests"
            yield f"{name}.input", part.input_tokens
            yield f"{name}.output", part.output_tokens
            yield f"{name}.shared_prefix", part.shared_prefix_tokens
        yield "users", self.users


def _on_axis(values: tuple[int, ...], axes: list[str], name: str) -> IntArray:
    if name not in axes:
        return np.asarray(values[0], dtype=np.int64)
    shape = [1] * len(axes)
    shape[axes.index(name)] = len(values)
    return np.asarray(values, dtype=np.int64).reshape(shape)


SCENARIOS = Library("kvwall.workloads", "scenarios", "scenario", Scenario)
