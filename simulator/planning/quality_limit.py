"""Which schemes keep a limit on published quality loss: cited figures of the same setting, never interpolated."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kvwall.hardware.errors import unknown_name
from kvwall.simulator.quality import Evidence, evidence_for, scheme_evidence
from kvwall.simulator.scheme import Scheme
from kvwall.simulator.stack import Stack, scheme_names

#: Where the name of a metric ends and the words on its experiment begin, as in ``LongBench, mean of 16 tasks``.
_WORDS = re.compile(r", | \(| at ")
#: Axes of the cache that a scheme cannot shrink without changing what a model reads.
_LOSSY_AXES = frozenset({"tokens", "reads", "channels", "bits", "layers"})

#: No command lists the metrics, so the refusal does.
_TOLD = 60


def require_metrics(metrics: Iterable[str]) -> None:
    """Refuse a metric in which no scheme has a published figure.

    :raises InputError: with the metrics known, and the nearest
    """
    known = [entry.metric for name in scheme_names() for entry in scheme_evidence(name)]
    for metric in metrics:
        if not any(metric.lower() in text.lower() for text in known):
            names = {_WORDS.split(text)[0] for text in known}
            raise unknown_name("metric of --max-quality-loss", metric, names, most=_TOLD)


def lossy(stack: Stack) -> tuple[Scheme, ...]:
    """The schemes of ``stack`` that change what a model reads."""
    return tuple(scheme for scheme in stack.schemes if scheme.axes & _LOSSY_AXES)


def applies(entry: Evidence, scheme: Scheme) -> bool:
    """Whether ``entry`` was measured at the parameters of ``scheme``.

    A setting is text such as ``bits=2, group=32``; every parameter it names must be the scheme's own. What is no
    ``key=value`` of a parameter describes the experiment and is left to the reader.
    """
    values = scheme.model_dump()
    for part in entry.setting.split(","):
        key, separator, value = (text.strip() for text in part.partition("="))
        if separator and key in values and str(values[key]) != value:
            return False
    return True


def published(stack: Stack) -> tuple[Evidence, ...]:
    """The figures measured at the settings of ``stack``, each scheme by itself."""
    by_name = {scheme.name: scheme for scheme in stack.schemes}
    return tuple(entry for entry in evidence_for(stack) if applies(entry, by_name[entry.scheme]))


def quality_refusal(stack: Stack, limits: dict[str, float]) -> str | None:
    """Why ``stack`` may lose more than ``limits`` allow, or ``None``; every lossy scheme needs evidence of its own.

    :param limits: metric (any part of its name, whatever its case) and the largest loss in its own unit
    """
    for metric, limit in limits.items():
        for scheme in lossy(stack):
            found = [entry for entry in published(Stack((scheme,))) if metric.lower() in entry.metric.lower()]
            if not found:
                return f"no published {metric} figure is known for {scheme.text}"
            worst = max(found, key=lambda entry: entry.loss)
            if worst.loss > limit:
                return (
                    f"{scheme.text} lost {worst.loss:.3g} > {limit:g} of {worst.metric} on {worst.model} "
                    f"({worst.source})"
                )
    return None
