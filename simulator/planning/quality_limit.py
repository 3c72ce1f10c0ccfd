"""Which schemes keep a limit on published quality loss: cited figures of the same setting, never interpolated."""

from __future__ import annotations

from kvwall.simulator.quality import Evidence, evidence_for
from kvwall.simulator.scheme import Scheme
from kvwall.simulator.stack import Stack


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
    changing = [scheme for scheme in stack.schemes if scheme.axes & {"tokens", "reads", "channels", "bits", "layers"}]
    for metric, limit in limits.items():
        for scheme in changing:
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
