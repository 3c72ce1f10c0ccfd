"""From what people type to a question: a scenario's words, with every option that was given put over them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from kvwall.hardware.document import parse_mapping, read_text
from kvwall.hardware.errors import InputError, canonical, suggestion, unknown_name
from kvwall.simulator.inquiry import Inquiry
from kvwall.simulator.planning.load import Load, load_of
from kvwall.simulator.planning.quality_limit import require_metrics
from kvwall.simulator.planning.question import OBJECTIVES, Freedom, Question, Targets
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.scenario import SCENARIOS, Scenario

#: The scenario that answers when nothing is asked.
DEFAULT_SCENARIO = "default"
#: The request of a plan that states no lengths: a chat, as in the built-in default scenario.
_CHAT_INPUT, _CHAT_OUTPUT = 1200, 300
#: Fields of an inquiry that the planner chooses itself, or that its own options replace.
_OWN = {"model", "on", "scheme", "kv_dtype", "weights", "tp", "pp"}
_MOST_MS = 3.6e6


@dataclass(frozen=True)
class Asked:
    """What was given on the command line or to :func:`plan`; ``None`` where nothing was said.

    :ivar subject: a model, a scenario, or the path of either
    :ivar options: fields of an inquiry that were given
    """

    subject: str | None = None
    on: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    users: int | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    max_quality_loss: Mapping[str, float] | str | None = None
    objective: str | None = None
    schemes: str | tuple[str, ...] | None = None
    weights: str | tuple[str, ...] | None = None
    batches: tuple[int, ...] | None = None
    budget_usd_per_hour: float | None = None
    options: Mapping[str, Any] | None = None


def ask(asked: Asked) -> Question:
    """The question that ``asked`` means.

    :raises InputError: an unknown model or scenario, a missing machine, or a value that is not allowed
    """
    options = dict(asked.options or {})
    unknown = sorted(set(options) - {field.name for field in fields(Inquiry)})
    if unknown:
        raise unknown_name("option of a plan", unknown[0], [field.name for field in fields(Inquiry)])
    scenario = _scenario(asked)
    question = _from_model(asked) if scenario is None else _from_scenario(scenario)
    question = replace(
        question,
        on=asked.on or question.on,
        load=_load(asked, question.load),
        targets=_targets(asked, question.targets),
        freedom=_freedom(asked, options, question.freedom),
        objective=_objective(asked.objective) or question.objective,
        options={**question.options, **{key: value for key, value in options.items() if key not in _OWN}},
    )
    if not question.on:
        raise InputError(f"--on: is missing; say on which devices {question.model} runs, as in --on h100:8")
    return question


def _scenario(asked: Asked) -> Scenario | None:
    """The scenario that is meant, or ``None`` when ``asked`` names a model."""
    subject = asked.subject
    if subject is None:
        return SCENARIOS.load(DEFAULT_SCENARIO)
    if subject.endswith((".yaml", ".yml")):
        return None if "attention" in parse_mapping(read_text(Path(subject)), subject) else SCENARIOS.load(subject)
    known = {canonical(name) for name in SCENARIOS.names} | {
        canonical(alias) for scenario in SCENARIOS.all().values() for alias in scenario.aliases
    }
    if canonical(subject) not in known:
        _require_model(subject, asked.on)
        return None
    if asked.on is not None and _is_model(subject):
        return None
    return SCENARIOS.load(subject)


def _is_model(text: str) -> bool:
    try:
        find_model(text)
    except InputError:
        return False
    return True


def _require_model(subject: str, on: str | None) -> None:
    """Refuse a name that is neither a model nor a scenario; without a machine it may have meant either."""
    if on is None and not _is_model(subject):
        near = suggestion(subject, SCENARIOS.names)
        hint = near or f" (scenarios: {', '.join(SCENARIOS.names)})"
        raise InputError(f"{subject!r} is neither a scenario nor a model{hint}")


def _from_model(asked: Asked) -> Question:
    one = np.ones(1)
    chat = Load(one, one * _CHAT_INPUT, one * _CHAT_OUTPUT, one * 0, None)
    lengths = (("--input", asked.input_tokens, _CHAT_INPUT), ("--output", asked.output_tokens, _CHAT_OUTPUT))
    notes = tuple(f"{option} not given: {tokens} tokens" for option, given, tokens in lengths if given is None)
    return Question(str(asked.subject), asked.on or "", {}, chat, Targets(), Freedom(), notes=notes)


def _from_scenario(scenario: Scenario) -> Question:
    prices = scenario.prices
    require_metrics(scenario.max_quality_loss)
    options: dict[str, Any] = {"engine": scenario.engine, "nodes": scenario.nodes}
    if prices.device_hour_usd is not None:
        options["price_usd_per_gpu_hour"] = prices.device_hour_usd
    notes = tuple(
        f"{name} is a range in the scenario: planned for {max(values):,}" for name, values in scenario.axes.items()
    )
    return Question(
        model=scenario.model,
        on=scenario.on,
        options=options,
        load=load_of(scenario.to_workload()),
        targets=Targets(scenario.targets.ttft_s, scenario.targets.tpot_s, None, dict(scenario.max_quality_loss)),
        freedom=Freedom(scenario.schemes, scenario.weights, None, scenario.tp, scenario.pp),
        objective=scenario.objective,
        scenario=scenario.name,
        notes=notes,
    )


def _load(asked: Asked, load: Load) -> Load:
    for option, value in (("--input", asked.input_tokens), ("--output", asked.output_tokens), ("--users", asked.users)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value}: must be a whole number from 1")
    if asked.input_tokens is not None or asked.output_tokens is not None:
        one = np.ones(1)
        inputs = one * (asked.input_tokens or round(load.input_tokens))
        outputs = one * (asked.output_tokens or round(load.output_tokens))
        load = replace(
            load, shares=one, inputs=inputs, outputs=outputs, prefixes=np.minimum(load.prefix_tokens, inputs)
        )
    return load if asked.users is None else replace(load, users=asked.users)


def _targets(asked: Asked, targets: Targets) -> Targets:
    for option, value, most in (
        ("--ttft-ms", asked.ttft_ms, _MOST_MS),
        ("--tpot-ms", asked.tpot_ms, _MOST_MS),
        ("--budget-usd-per-hour", asked.budget_usd_per_hour, 1e9),
    ):
        if value is not None and not 1e-3 <= value <= most:
            raise InputError(f"{option} {value:g}: must lie between 0.001 and {most:g}")
    return Targets(
        targets.ttft_s if asked.ttft_ms is None else asked.ttft_ms / 1e3,
        targets.tpot_s if asked.tpot_ms is None else asked.tpot_ms / 1e3,
        asked.budget_usd_per_hour,
        targets.quality_loss if asked.max_quality_loss is None else _quality(asked.max_quality_loss),
    )


def _quality(limit: Mapping[str, float] | str) -> dict[str, float]:
    """``"LongBench=1"`` or ``{"LongBench": 1}`` as a mapping."""
    if not isinstance(limit, str):
        require_metrics(limit)
        return dict(limit)
    found: dict[str, float] = {}
    for part in limit.split(","):
        metric, separator, text = part.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not separator or not metric.strip() or not 0 <= value < math.inf:
            raise InputError(f"--max-quality-loss {part!r}: write METRIC=VALUE, as in LongBench=1")
        found[metric.strip()] = value
    require_metrics(found)
    return found


def _freedom(asked: Asked, options: Mapping[str, Any], freedom: Freedom) -> Freedom:
    single = options.get("scheme")
    cache = options.get("kv_dtype")
    given = [
        name for name, value in (("--schemes", asked.schemes), ("--scheme", single), ("--kv-dtype", cache)) if value
    ]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]}: both say which schemes to try; give one")
    schemes = (
        _listed(asked.schemes, ";", "--schemes") or ((single,) if single else None) or ((cache,) if cache else None)
    )
    weights = _listed(asked.weights or options.get("weights"), ",", "--weights")
    tp, pp = options.get("tp"), options.get("pp")
    return Freedom(
        schemes or freedom.schemes,
        weights or freedom.weights,
        asked.batches,
        freedom.tp if tp is None else (tp,),
        freedom.pp if pp is None else (pp,),
    )


def _listed(value: str | tuple[str, ...] | list[str] | None, separator: str, option: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    parts = value.split(separator) if isinstance(value, str) else list(value)
    names = tuple(part.strip() for part in parts if part.strip())
    if not names:
        raise InputError(f"{option} {value!r}: lists nothing")
    return names


def _objective(text: str | None) -> Any:
    if text is not None and text not in OBJECTIVES:
        raise unknown_name("--objective", text, OBJECTIVES)
    return text
