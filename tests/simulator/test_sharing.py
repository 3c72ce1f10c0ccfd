"""Shared tokens: what a cascade gains under calibrated kernels, and how many sequences fit that share them."""

from __future__ import annotations

from typing import Any

import pytest

from kvwall.simulator.answers.fit import fit
from kvwall.simulator.answers.step import step


def _step_s(scheme: str, calibration: str) -> float:
    answer = step(
        "llama-3.1-8b", on="h100", batch=[32], context=[32768], scheme=scheme, calibration=calibration, terms=False
    )
    return answer.points[0].step_s.mid


@pytest.mark.parametrize("calibration", ["auto", "none"])
def test_a_cascade_is_faster_however_its_plain_kernel_is_priced(calibration: str) -> None:
    """It reads 30,000 + 32 x 2,768 tokens instead of 32 x 32,768: a ninth, beside weights of 15 GB."""
    apart, cascade = (_step_s(f"prefix:tokens=30000{more}", calibration) for more in ("", ",cascade=true"))
    assert cascade < apart / 3


def test_without_a_cascade_sharing_changes_no_time() -> None:
    assert _step_s("prefix:tokens=30000", "auto") == _step_s("none", "auto")
    assert _step_s("ets", "auto") == _step_s("none", "auto")


@pytest.mark.parametrize(
    ("scheme", "kept"),
    [
        # A leaf of sixteen keeps (7,168 + 256 x 22) / 16 tokens.
        ("ets", 800),
        # Without branches each leaf has a path of its own below the prompt.
        ("ets:branching=1", 7168 / 16 + 1024),
        ("pid:document=6144,prompts=4", 6144 / 4 + 2048),
    ],
)
def test_more_sequences_fit_where_they_share(scheme: str, kept: float) -> None:
    def concurrency(text: str) -> Any:
        return fit("llama-3.1-8b", on="h100", context=8192, scheme=text).max_concurrency.mid

    assert concurrency(scheme) / concurrency("none") == pytest.approx(8192 / kept, rel=1e-3)
