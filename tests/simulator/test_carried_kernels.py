"""Kernels that nobody measured: what is known of the plain kernel carries over, whatever the format of the cache."""

import numpy as np
import pytest

from kvwall.simulator.answers.explain import explain
from kvwall.simulator.answers.step import step

#: Attention of the 16-bit cache is fitted on these; that of the other formats is not.
FORMATS = ["int4", "kivi:bits=4", "kivi:bits=2", "atom", "mikv"]


def _attention_s(scheme: str, context: int, **options: object) -> float:
    answer = explain("llama-3.1-8b", on="a100", scheme=scheme, batch=32, context=context, **options)  # type: ignore[arg-type]
    return sum(term.charged_s for term in answer.terms if term.operator.startswith("decode attention"))


def test_as_many_bytes_take_as_long_as_the_fit_says() -> None:
    """The A100 has fits of 16-bit caches alone: 16,384 tokens of 8 bits are the bytes of 8,192 tokens of 16.

    Bringing 8 bits into a product costs vector work on top, which hides under the reads but for the corner of a smooth
    maximum.
    """
    plain, eight = _attention_s("none", 8192), _attention_s("fp8", 16384)
    assert plain < eight < 1.5 * plain


@pytest.mark.parametrize("scheme", FORMATS)
def test_more_bandwidth_never_makes_a_step_slower(scheme: str) -> None:
    def seconds(bandwidth: float) -> float:
        faster = (f"device.hbm.bandwidth={bandwidth} TB/s",)
        point = step("llama-3.1-8b", on="h100", scheme=scheme, batch=[64], context=[32768], set=faster).points[0]
        return point.step_s.mid

    found = [seconds(bandwidth) for bandwidth in (2, 4, 8, 16, 50)]
    assert np.all(np.diff(found) <= 0)


@pytest.mark.parametrize("scheme", FORMATS)
@pytest.mark.parametrize("on", ["h100", "a100", "l40s"])
def test_more_context_never_makes_a_step_faster(scheme: str, on: str) -> None:
    """Contexts are multiples of every residual window; half a per cent is left to a fit's own waves of blocks."""
    contexts = [512 * n for n in (1, 2, 4, 8, 16, 32, 64)]
    points = step("llama-3.1-8b", on=on, scheme=scheme, batch=[8], context=contexts).points
    found = np.array([point.step_s.mid for point in points])
    assert np.all(np.diff(found) >= -0.005 * found[1:])
