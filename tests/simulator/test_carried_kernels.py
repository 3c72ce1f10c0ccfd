"""Kernels that nobody measured: what is known of the plain kernel carries over, whatever the format of the cache."""

import pytest

from kvwall.simulator.answers.explain import explain


def _attention_s(scheme: str, calibration: str) -> float:
    answer = explain("llama-3.1-8b", on="a100", scheme=scheme, batch=32, context=8192, calibration=calibration)
    return sum(term.charged_s for term in answer.terms if term.operator.startswith("decode attention"))


@pytest.mark.parametrize("scheme", ["fp8", "kivi:bits=4"])
def test_two_formats_differ_by_their_work_and_not_by_who_was_measured(scheme: str) -> None:
    """The A100 has fits of 16-bit caches alone: another format takes as many times as long as by class defaults."""
    by_class = _attention_s(scheme, "none") / _attention_s("none", "none")
    assert _attention_s(scheme, "auto") / _attention_s("none", "auto") == pytest.approx(by_class, rel=1e-6)
