"""``kvwall solve``: the bandwidth, bits, context, batch, GPUs, price or kept part at which targets are just met."""

from __future__ import annotations

from typing import Any

from kvwall.hardware.errors import InputError, unknown_name
from kvwall.simulator.answers.base import Answer, Part, Range
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.solving.question import BreakEven, Question, TargetsMet
from kvwall.simulator.solving.targets import MEMORY, Target, parse_targets
from kvwall.simulator.solving.unknowns import UNKNOWNS, Asked, Unknown


class Root(Part):
    """A value at which what is asked starts or ceases to hold.

    :ivar binding: the target that is just met, or ``memory``
    :ivar bound_by: the resource that is charged most of the step there
    :ivar met: on which side the targets are met, ``below`` or ``above``; of a break-even, who is faster below
    """

    value: float
    binding: str
    bound_by: str
    met: str


class SolveAnswer(Answer):
    """An inverse question and its answer.

    :ivar unknown: what was solved for, in ``unit``
    :ivar scheme: the stack with the answer in it, or the value that comes nearest; of a break-even, both as asked
    :ivar answer: the largest (or least) value that meets the targets; the first break-even between two schemes
    :ivar answer_band: the same at both ends of the band of times, where they have an answer; ``None`` where memory
        binds at all of them, which is taken at the middle of its own band
    :ivar roots: every change between met and missed in the range that was looked at
    :ivar binding: what is just met at the answer
    :ivar never_because: why there is no answer
    :ivar checked: the measures at the answer, put back into the model
    """

    model: str
    on: str
    scheme: str
    unknown: str
    unit: str
    asked: str
    answer: float | None
    answer_band: Range | None
    roots: tuple[Root, ...]
    binding: str | None
    never_because: str | None
    range: tuple[float, float]
    checked: dict[str, float]

    @property
    def says_no(self) -> str | None:
        """Why there is no answer."""
        return self.never_because


def solve(
    model: str,
    *,
    on: str,
    unknown: str,
    target: str | None = None,
    between: str | None = None,
    batch: float = 1,
    context: float = 8192,
    **options: Any,
) -> SolveAnswer:
    """The value of ``unknown`` at which ``target`` is just met, or at which two schemes take equally long.

    :param unknown: bandwidth, bits, context, batch, gpus, price, utilization or keep
    :param target: e.g. ``"tpot_ms<=50,tokens_per_s>=2000"``, or ``"memory"``, which is a target always
    :param between: two stacks, e.g. ``"fp8;kivi:bits=2"``, in place of a target
    :param batch: sequences, unless solved for
    :param context: tokens per sequence, unless solved for
    :param options: the other fields of :class:`Inquiry`
    :raises InputError: bad input, both or neither of ``target`` and ``between``
    """
    return answer_solve(Inquiry(model, on, **options), unknown, target, between, batch, context)


def answer_solve(
    inquiry: Inquiry, unknown: str, target: str | None, between: str | None, batch: float, context: float
) -> SolveAnswer:
    """:func:`solve` of an inquiry."""
    if unknown not in UNKNOWNS:
        raise unknown_name("unknown of --for", unknown, tuple(UNKNOWNS))
    if (target is None) == (between is None):
        raise InputError("--target, --between: give one of them, as in --target 'tpot_ms<=50'")
    asked = Asked(inquiry, float(batch), float(context))
    resolve(inquiry)  # whatever is wrong with the question itself is told before any value is tried
    wanted = UNKNOWNS[unknown]
    question: Question
    if between is not None:
        question = BreakEven(asked, wanted, _two(between))
    else:
        targets = parse_targets(target or "")
        _refuse_indifferent(unknown, targets)
        question = TargetsMet(asked, wanted, targets)
    found = question.scan("mid")
    answer = question.answer(found)
    # Split, price and stack are those of the answer, not those of the question that was asked without it.
    resolved = resolve(question.place(found.nearest[0] if answer is None else answer).inquiry)
    assumed = (*resolved.assumptions, f"looked at from {wanted.low:g} to {wanted.high:g} {wanted.unit}")
    return SolveAnswer(
        model=resolved.setup.model_name,
        on=inquiry.on,
        scheme=between or resolved.setup.stack.text,
        unknown=unknown,
        unit=wanted.unit,
        asked=between or target or "",
        answer=answer,
        answer_band=None if answer is None else _band(question, answer),
        roots=tuple(
            Root(
                value=crossing.value,
                binding=question.binding(crossing.value),
                bound_by=question.bound_by(crossing.value),
                met=question.met(crossing.rises),
            )
            for crossing in found.crossings
        ),
        binding=None if answer is None else _binding(question, wanted, answer),
        never_because=question.never(found) if answer is None else None,
        range=(wanted.low, wanted.high),
        checked={} if answer is None else question.checked(answer),
        assumptions=assumed,
        warnings=(*resolved.warnings, *(() if answer is None else question.warnings(answer))),
    )


def _band(question: Question, answer: float) -> Range | None:
    """The answers at both ends of the band of times round ``answer``; ``None`` without them or where no time binds."""
    ends = [question.answer(question.scan(level)) for level in ("low", "high")]
    told = [value for value in (*ends, answer) if value is not None]
    by_memory = min(told) == max(told) and question.binding(answer) == MEMORY
    return Range(low=min(told), mid=answer, high=max(told)) if len(told) == len(ends) + 1 and not by_memory else None


def _binding(question: Question, wanted: Unknown, answer: float) -> str:
    """What keeps the answer from being better: a target, or the end of the range."""
    end = wanted.high if wanted.wants_most else wanted.low
    at_end = answer == end and isinstance(question, TargetsMet)
    return f"the range looked at ({end:g} {wanted.unit})" if at_end else question.binding(answer)


def _refuse_indifferent(unknown: str, targets: tuple[Target, ...]) -> None:
    """Refuse an unknown that changes dollars alone where no target is about dollars."""
    if unknown in {"price", "utilization"} and not any("usd" in target.measure for target in targets):
        raise InputError(f"--for {unknown}: changes only what a token costs; give --target usd_per_million_tokens<=X")


def _two(between: str | None) -> tuple[str, str]:
    stacks = [text.strip() for text in (between or "").split(";") if text.strip()]
    if len(stacks) != 2:
        raise InputError(f"--between {between}: needs two stacks, as in 'fp8;kivi:bits=2'")
    return stacks[0], stacks[1]
