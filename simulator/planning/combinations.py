"""All combinations of split, weight format and scheme that could serve a model on a machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from kvwall.hardware.errors import ForbiddenError, InputError
from kvwall.hardware.system import System
from kvwall.simulator.deployment import Deployment, make_deployment
from kvwall.simulator.inquiry import native_weights
from kvwall.simulator.planning.question import Question
from kvwall.simulator.setup import Setup
from kvwall.simulator.stack import Stack, parse_stack
from kvwall.workloads.model_spec import ExpertFeedForward, ModelSpec
from kvwall.workloads.weight_format import WEIGHTS

Kind = Literal["architecture", "split", "memory", "quality", "TPOT", "TTFT"]

#: Every scheme, weight format or split of a rejection that holds for all of them.
ALL = "all"
#: A narrower format must save at least a tenth of the published bits to be worth another checkpoint.
_NARROWER = 0.9
#: The engine's max_model_len is stated in whole chunks of this many tokens.
_LENGTH_STEP = 256


@dataclass(frozen=True)
class Rejected:
    """Combinations that cannot answer, and why; no deployment means any.

    :ivar kind: the class of the reason
    :ivar ratio: by which factor the best batch misses its worst target, where a target is missed
    """

    reason: str
    kind: Kind
    scheme: str = ALL
    weights: str = ALL
    deployment: Deployment | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Combination:
    """One way to serve the model: everything but the batch.

    :ivar scheme: the stack as it was asked for, without the prefix sharing of the load
    """

    setup: Setup
    scheme: str

    def rejected(self, reason: str, kind: Kind, ratio: float | None = None) -> Rejected:
        """This combination, rejected."""
        return Rejected(reason, kind, self.scheme, self.setup.weights_name, self.setup.deployment, ratio)


def default_weights(model: ModelSpec, system: System, engine: str) -> tuple[str, ...]:
    """The published format and the usual narrower ones of the engine; never a wider one."""
    native = native_weights(model)
    widest = WEIGHTS.load(native).bits_per_weight * _NARROWER
    fp4 = ("nvfp4",) if system.device.matrix_dtype("fp4") == "fp4" else ()
    usual = ("q8_0", "q4_k_m") if engine == "llamacpp" else ("fp8", *fp4, "int4-g128")
    return (native, *(name for name in usual if WEIGHTS.load(name).bits_per_weight <= widest))


def default_schemes(system: System, engine: str) -> tuple[str, ...]:
    """One or two schemes of each kind that a planner would weigh."""
    if engine == "llamacpp":
        return ("none", "int8", "int4")
    fp4 = ("nvfp4",) if system.device.matrix_dtype("fp4") == "fp4" else ()
    return ("none", "fp8", *fp4, "int4", "kivi:bits=4", "kivi:bits=2", "snapkv:budget=1024", "quest")


def prefix_stack(stack: Stack, prefix_tokens: int, block_tokens: int) -> Stack:
    """``stack`` with the prefix that the load shares, unless it shares one already."""
    taken = any("sequences" in scheme.axes for scheme in stack.schemes)
    if prefix_tokens < block_tokens or taken:
        return stack
    return parse_stack(f"{stack.text}+prefix:tokens={prefix_tokens},page={block_tokens}")


def splits(base: Setup, question: Question) -> Iterator[Deployment | Rejected]:
    """Every ``tp x pp x dp`` that uses all devices, with experts and latent attention split or not."""
    count, pinned, free = base.system.count, question.options, question.freedom
    experts = any(isinstance(group, ExpertFeedForward) for group in base.model.feed_forward)
    latent = any(group.kind == "mla" for group in base.model.attention)
    for tp in _degrees(count, free.tp):
        if free.tp is None and tp > base.system.per_node:
            continue
        for pp in _degrees(count // tp, free.pp):
            dp = count // (tp * pp)
            if pinned.get("dp") not in (None, dp):
                continue
            for ep in _choices(pinned.get("ep"), tp if experts else 1):
                for attn_dp in _choices(pinned.get("attn_dp"), tp if latent else 1):
                    dcp = pinned.get("dcp") or 1
                    try:
                        yield make_deployment(
                            base.model, base.system, tp=tp, pp=pp, dp=dp, ep=ep, attn_dp=attn_dp, dcp=dcp
                        )
                    except InputError as error:
                        yield Rejected(str(error), "split", deployment=Deployment(tp, pp, dp, ep, attn_dp, dcp))


def _no_split(count: int, question: Question) -> str:
    free, dp = question.freedom, question.options.get("dp")
    asked = [("--tp", free.tp), ("--pp", free.pp), ("--dp", None if dp is None else (dp,))]
    told = " ".join(f"{option} {','.join(map(str, values))}" for option, values in asked if values)
    return f"{told or '--on'}: no split of {count} devices into tp x pp x dp is left"


def _degrees(count: int, allowed: tuple[int, ...] | None) -> list[int]:
    return [n for n in range(1, count + 1) if count % n == 0 and (allowed is None or n in allowed)]


def _choices(pinned: int | None, other: int) -> tuple[int, ...]:
    if pinned is not None:
        return (pinned,)
    return (1, other) if other > 1 else (1,)


def combinations(base: Setup, question: Question) -> Iterator[Combination | Rejected]:
    """Every combination, and what is rejected before any of it is priced.

    :param base: model, machine and engine; its split, weights and stack are replaced
    """
    free, load = question.freedom, question.load
    if base.max_model_len is None:
        longest = -(-load.peak_context_tokens // _LENGTH_STEP) * _LENGTH_STEP
        base = replace(base, max_model_len=longest)
    names = free.weights or default_weights(base.model, base.system, base.engine.engine)
    formats = [(name, WEIGHTS.load(name)) for name in dict.fromkeys(map(WEIGHTS.resolve, names))]
    texts = default_schemes(base.system, base.engine.engine) if free.schemes is None else free.schemes
    stacks: list[tuple[str, Stack]] = []
    for text in texts:
        stack = parse_stack(text)
        try:
            stack.check(base.architecture)
        except ForbiddenError as error:
            yield Rejected(str(error), "architecture", scheme=stack.text)
            continue
        stacks.append((stack.text, prefix_stack(stack, load.prefix_tokens, base.block)))
    found = list(splits(base, question))
    if not found:
        raise InputError(_no_split(base.system.count, question))
    for deployment in found:
        if isinstance(deployment, Rejected):
            yield deployment
            continue
        for name, form in formats:
            split = replace(base, deployment=deployment, weights_name=name, weights=form)
            for text, stack in stacks:
                yield Combination(replace(split, stack=stack), text)
