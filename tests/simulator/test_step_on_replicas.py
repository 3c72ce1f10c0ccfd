"""Replicas and hosts: a sequence is not cut over replicas, and host time keeps its own band."""

import pytest

from kvwall.simulator.answers.step import step


def _step_ms(on: str, batch: int, **options: object) -> tuple[float, float, float, float]:
    point = step("llama-3.1-8b", on=on, batch=[batch], context=[8192], **options).points[0]  # type: ignore[arg-type]
    return point.step_s.low * 1e3, point.step_s.mid * 1e3, point.step_s.high * 1e3, point.ideal_step_s * 1e3


@pytest.mark.parametrize(("batch", "busiest"), [(1, 1), (3, 2), (4, 2)])
def test_the_busiest_replica_sets_the_pace(batch: int, busiest: int) -> None:
    """Two replicas of one GPU take as long as the one with more sequences: 1, 2 and 2 of 1, 3 and 4."""
    assert _step_ms("h100:2", batch, tp=1) == pytest.approx(_step_ms("h100", busiest))


def test_host_band_of_many_sequences_is_that_of_the_sequences() -> None:
    """SGLang: 33 us a sequence (20 to 50) and 0.15 ms a step (0 to 0.65): at 512, between 10.2 and 26.3 ms of host."""
    low, mid, high, _ = _step_ms("h100", 512, engine="sglang", calibration="none")
    idle_low, idle_mid, idle_high, _ = _step_ms("h100", 512, engine="none", calibration="none")
    assert low - idle_low == pytest.approx(512 * 20e-3, rel=0.05)
    assert mid - idle_mid == pytest.approx(0.145 + 512 * 33e-3, rel=0.05)
    assert high - idle_high == pytest.approx(0.65 + 512 * 50e-3, rel=0.05)


def test_a_device_with_collectives_alone_borrows_its_other_kernels() -> None:
    fitted, plain = (_step_ms("a100-pcie-80gb", 64, calibration=name) for name in ("auto", "none"))
    assert fitted != pytest.approx(plain)
