"""Quantise passes: published latencies, blocks against memory, and the pass that a name means."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS, kernel_fits
from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.kernel_time.quantize import FAMILIES, QUANTISE, quantise_family
from kvwall.validate.fit import fit_family

H100 = machine_of(DEVICES.load("h100-sxm5-80gb"))


def _defaults(family: Family) -> dict[str, float]:
    return {parameter.name: parameter.default for parameter in family.parameters}


@pytest.mark.parametrize(
    ("m", "k", "measured_us"),
    # ai-dynamo/aiconfigurator at 095f58a51, static_scaled_fp8_quant of vLLM 0.24.0.
    [(3, 65536, 7.3), (1, 51200, 6.1), (5, 16384, 3.2), (160, 5120, 2.8), (161, 51200, 8.6)],
)
def test_calibrated_passes_come_near_published_latencies(m: int, k: int, measured_us: float) -> None:
    family = quantise_family("apply")
    fit = kernel_fits("h100-sxm5-80gb", "vllm")[family.name]
    seconds = family.seconds(Points(m=float(m), k=float(k), warm=1.0), fit.parameters, H100)
    assert float(seconds) * 1e6 == pytest.approx(measured_us, rel=0.12)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_growth_bound_and_arrays(family: Family) -> None:
    m, k = 2.0 ** np.arange(0, 16), 2.0 ** np.arange(5, 17)
    seconds = family.seconds(Points(m=m[:, None], k=k), _defaults(family), H100)
    assert np.all(np.diff(seconds, axis=0) >= 0)
    assert np.all(np.diff(seconds, axis=1) >= 0)
    best = {p.name: p.high if "fraction" in p.name else p.low for p in family.parameters}
    points = Points(m=m[:, None], k=k)
    assert np.all(family.seconds(points, best, H100) >= family.ideal_seconds(points, H100))
    alone = float(family.seconds(Points(m=m[7], k=k[3]), _defaults(family), H100))
    assert seconds[7, 3] == pytest.approx(alone, rel=1e-12)


def test_few_rows_wait_for_one_block_and_many_for_memory() -> None:
    family = QUANTISE["quantize/per-token"]
    parameters = _defaults(family)
    few = float(family.seconds(Points(m=1.0, k=65536.0), parameters, H100))
    assert few == pytest.approx((parameters["launch_us"] + 64 * parameters["walk_us"]) * 1e-6, rel=0.01)
    many = float(family.seconds(Points(m=1e5, k=65536.0), parameters, H100))
    memory = 3 * 1e5 * 65536 / (parameters["quantise_fraction"] * H100.bandwidth_bytes_per_s)
    assert many == pytest.approx(memory, rel=0.01)


def test_a_scale_alone_reads_and_writes_nothing() -> None:
    points = Points(m=4096.0, k=8192.0)
    bounds = {name: float(family.ideal_seconds(points, H100)) for name, family in QUANTISE.items()}
    assert bounds["quantize/scale"] == pytest.approx(bounds["quantize/apply"] * 2 / 3)
    assert bounds["quantize/per-token"] == bounds["quantize/apply"]


def test_a_fit_finds_the_numbers_that_made_the_points() -> None:
    family = QUANTISE["quantize/per-token"]
    m, k = (grid.ravel() for grid in np.meshgrid(2.0 ** np.arange(0, 16), 2.0 ** np.arange(5, 17)))
    points = Points(m=m, k=k, warm=1.0)
    truth = {"launch_us": 3.1, "walk_us": 0.08, "row_us": 0.004, "quantise_fraction": 0.6, "l2_share": 0.6}
    fit = fit_family(family, points, family.seconds(points, truth, H100), H100)
    for name, value in truth.items():
        assert fit.parameters[name] == pytest.approx(value, rel=0.05), name


def test_an_unknown_pass_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as error:
        quantise_family("per-tokens")
    assert str(error.value) == (
        "quantise pass 'per-tokens' is unknown; did you mean 'per-token'? (allowed: apply, per-token, scale)"
    )


def test_shipped_quantise_fits_name_families_and_stay_within_their_bounds() -> None:
    names = [name for name in KERNEL_CALIBRATIONS.names if name.endswith(".quantize")]
    assert names
    for name in names:
        for fit in KERNEL_CALIBRATIONS.load(name).fits.values():
            family = QUANTISE[fit.family]
            assert [parameter.name for parameter in family.parameters] == list(fit.parameters), name
            for parameter in family.parameters:
                assert parameter.low * 0.99 <= fit.parameters[parameter.name] <= parameter.high * 1.01, (
                    name,
                    parameter,
                )
