"""Stacks of schemes as a person builds them: options filled in, put beside or on another stack, and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.answers.fit import answer_fit
from kvwall.simulator.answers.show import show
from kvwall.simulator.inquiry import resolve
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.naming import named
from kvwall.simulator.stack import scheme_names


@dataclass(frozen=True)
class Option:
    """One option of a scheme.

    :ivar allowed: its values in words
    """

    name: str
    default: str
    allowed: str


def options_of(scheme: str) -> tuple[str, tuple[Option, ...]]:
    """What a scheme is, and its options; nothing of a name that is none."""
    if scheme not in scheme_names():
        return "", ()
    told = show("scheme", scheme).document
    options = tuple(Option(o["name"], _written(o["default"]), o["allowed"]) for o in told["options"])
    return told["title"], options


def _written(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def written(scheme: str, values: Mapping[str, str]) -> str:
    """``scheme`` with the options that were filled in, as a stack writes it."""
    given = ",".join(f"{name}={value.strip()}" for name, value in values.items() if value and value.strip())
    return f"{scheme}:{given}" if given else scheme


def beside(stacks: tuple[str, ...], one: str) -> str:
    """The text of ``stacks`` with ``one`` as another; once is enough."""
    return ";".join(dict.fromkeys((*stacks, one)))


def joined(last: str, one: str) -> str:
    """``one`` put on the stack ``last``."""
    return one if last == "none" else f"{last}+{one}"


def upon(stacks: tuple[str, ...], one: str) -> str:
    """The text of ``stacks`` with ``one`` put on the last of them."""
    *others, last = stacks
    return ";".join(dict.fromkeys((*others, joined(last, one))))


def without(stacks: tuple[str, ...], index: int) -> str:
    """The text of ``stacks`` without the one at ``index``; the last one leaves none behind."""
    return ";".join(stack for i, stack in enumerate(stacks) if i != index) or "none"


def judged(controls: Controls, stack: str) -> tuple[bool, str]:
    """Whether ``stack`` applies to the model and the machine, and what it holds there or why it does not."""
    try:
        known = named(controls)
        answer = answer_fit(resolve(known.inquiry(stack)), known.tokens("context"), known.tokens("users"))
    except KvwallError as error:
        return False, str(error)
    return True, (
        f"{stack}: {answer.kv_bytes_per_token_per_gpu:,.0f} bytes per token and GPU, "
        f"{answer.max_concurrency.mid:,.0f} sequences of {answer.context:,} tokens fit"
    )
