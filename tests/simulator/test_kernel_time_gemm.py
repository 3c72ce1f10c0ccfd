"""Matrix products: published timings, growth with shape, the data sheet's bound, and which family serves what."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS, kernel_fits
from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.gemm_families import FAMILIES, GEMM, gemm_family
from kvwall.simulator.kernel_time.gemm_menu import cutlass_fp8
from kvwall.simulator.kernel_time.machine import Machine, machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array
from kvwall.validate.fit import fit_family

H100 = machine_of(DEVICES.load("h100-sxm5-80gb"))
A100 = machine_of(DEVICES.load("a100-sxm4-80gb"))

#: m, n, k and microseconds measured in ai-dynamo/aiconfigurator at 095f58a51 (vLLM, bf16, CUDA graph).
_H100_US = [
    (15, 10240, 64, 2.9), (256, 3584, 256, 3.9), (3073, 3584, 256, 15.5), (3328, 16384, 32, 47.1),
    (7, 6144, 16384, 83.2), (4097, 10240, 3072, 326.6),
]  # fmt: skip
_A100_US = [
    (2, 3072, 32, 3.2), (384, 3072, 32, 5.0), (1024, 3072, 32, 7.5), (160, 3072, 2560, 21.0), (160, 7168, 4096, 57.2),
    (4096, 768, 7168, 177.4),
]  # fmt: skip

_STEPPED = ("gemm/cutlass-fp8", "gemm/deepgemm", "gemm/deepgemm-quantised")


def _defaults(family: Family) -> dict[str, float]:
    return {parameter.name: parameter.default for parameter in family.parameters}


def _machine(family: Family) -> Machine:
    return A100 if "ampere" in family.name else H100


def _shapes(seed: int, count: int, **fixed: float) -> Points:
    draw = np.random.default_rng(seed)
    columns: dict[str, Array] = {
        name: np.round(np.exp(draw.uniform(np.log(32), np.log(16384), count))) for name in "nk"
    }
    columns["m"] = np.round(np.exp(draw.uniform(0, np.log(8192), count)))
    return Points(**columns, **fixed)  # type: ignore[arg-type]


@pytest.mark.parametrize(("device", "rows"), [("h100-sxm5-80gb", _H100_US), ("a100-sxm4-80gb", _A100_US)])
def test_calibrated_products_come_near_published_timings(device: str, rows: list[tuple[float, ...]]) -> None:
    m, n, k, measured_us = np.array(rows, dtype=float).T
    family = gemm_family(DEVICES.load(device), "vllm", "bf16")
    fit = kernel_fits(device, "vllm")[family.name]
    seconds = family.seconds(Points(m=m, n=n, k=k, warm=1.0), fit.parameters, machine_of(DEVICES.load(device)))
    errors = np.abs(seconds * 1e6 / measured_us - 1)
    # cuBLAS does not always take the best tile: single products differ by up to 30 %.
    assert errors.max() < 0.3
    assert np.median(errors) < 0.17


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_product_of_twice_the_size_never_takes_less(family: Family) -> None:
    machine, parameters = _machine(family), _defaults(family)
    m = 2.0 ** np.arange(0, 14)[:, None, None]
    n, k = 2.0 ** np.arange(7, 15)[:, None], 2.0 ** np.arange(7, 15)
    seconds = family.seconds(Points(m=m, n=n, k=k), parameters, machine)
    for axis in range(3):
        growth = np.diff(seconds, axis=axis) / np.delete(seconds, -1, axis=axis)
        # More rows may fill the tile, or get a better one: measured too, with DeepGEMM and the table of CUTLASS.
        steps = axis == 0 and family.name in _STEPPED
        assert growth.min() > (-0.25 if steps else -0.03), axis


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_cold_product_beats_the_data_sheet(family: Family) -> None:
    machine, points = _machine(family), _shapes(0, 400)
    best = {p.name: (p.high if "fraction" in p.name or p.name.startswith(("feed", "halving")) else p.low)
            for p in family.parameters}  # fmt: skip
    assert np.all(family.seconds(points, best, machine) >= family.ideal_seconds(points, machine) * (1 - 1e-12))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_an_array_holds_what_scalars_give(family: Family) -> None:
    machine, points, parameters = _machine(family), _shapes(1, 20, warm=1.0), _defaults(family)
    together = family.seconds(points, parameters, machine)
    alone = [family.seconds(points.take(np.array(row)), parameters, machine) for row in range(20)]
    assert together == pytest.approx(np.array(alone), rel=1e-12)


def test_axes_broadcast() -> None:
    family = GEMM["gemm/cublas-hopper"]
    points = Points(m=np.array([[1.0], [64.0]]), n=np.array([1024.0, 4096.0, 8192.0]), k=4096.0)
    assert family.seconds(points, _defaults(family), H100).shape == (2, 3)


def test_a_grid_larger_than_a_piece_and_an_empty_one_keep_their_shape() -> None:
    family = GEMM["gemm/cublas-ampere"]
    m, n = np.arange(1.0, 60.0)[:, None], np.arange(64.0, 64.0 * 41, 64.0)
    grid = family.seconds(Points(m=m, n=n, k=512.0), _defaults(family), A100)
    assert grid.shape == (59, 40)
    assert grid[50] == pytest.approx(family.seconds(Points(m=51.0, n=n, k=512.0), _defaults(family), A100), rel=1e-12)
    assert family.seconds(Points(m=np.zeros(0), n=64.0, k=64.0), _defaults(family), A100).shape == (0,)


def test_a_fit_finds_the_numbers_that_made_the_points() -> None:
    family, points = GEMM["gemm/cutlass-fp8"], _shapes(2, 500, warm=1.0)
    truth = {name: value * 1.15 if name != "hbm_fraction" else 0.7 for name, value in _defaults(family).items()}
    truth["matrix_fraction"] = 0.72
    fit = fit_family(family, points, family.seconds(points, truth, H100), H100)
    for name in ("launch_us", "hbm_fraction", "matrix_fraction", "feed_bytes_per_clock", "row_us"):
        assert fit.parameters[name] == pytest.approx(truth[name], rel=0.03), name


def test_repeated_weights_come_from_the_cache_and_those_of_a_step_do_not() -> None:
    family = GEMM["gemm/cublas-hopper"]
    small = [family.seconds(Points(m=2048.0, n=64.0, k=4096.0, warm=w), _defaults(family), H100) for w in (0.0, 1.0)]
    large = [family.seconds(Points(m=16.0, n=8192.0, k=8192.0, warm=w), _defaults(family), H100) for w in (0.0, 1.0)]
    assert small[1] < 0.9 * small[0]
    assert large[1] == pytest.approx(large[0], rel=0.01)


def test_cutlass_takes_the_tile_of_its_table() -> None:
    m, n, k = (np.array(column, dtype=float)[:, None] for column in (
        (16, 17, 17, 65, 129, 8192, 8192), (4096, 1280, 1281, 64, 64, 64, 64), (64, 64, 64, 64, 64, 6143, 6144),
    ))  # fmt: skip
    tiles = cutlass_fp8(m, n, k)
    assert tiles.rows[:, 0].tolist() == [16, 16, 64, 64, 128, 128, 256]
    assert tiles.columns[:, 0].tolist() == [64, 64, 64, 128, 128, 128, 128]


def test_an_overhanging_row_tile_of_deepgemm_costs_more_than_a_full_one() -> None:
    family = GEMM["gemm/deepgemm-quantised"]
    full, over = (family.seconds(Points(m=m, n=7168.0, k=7168.0), _defaults(family), H100) for m in (256.0, 129.0))
    assert over > full


def test_a_call_from_the_host_takes_at_least_the_host_s_time() -> None:
    family = GEMM["gemm/deepgemm-block-eager"]
    parameters = _defaults(family)
    small = float(family.seconds(Points(m=1.0, n=512.0, k=512.0), parameters, H100))
    large = float(family.seconds(Points(m=8192.0, n=8192.0, k=8192.0), parameters, H100))
    assert small == pytest.approx(parameters["host_us"] * 1e-6, rel=0.01)
    assert large > 5 * small


@pytest.mark.parametrize(
    ("device", "framework", "dtype", "source", "family"),
    [
        ("h100-sxm5-80gb", "vllm", "bf16", "", "cublas-hopper"),
        ("h200-sxm-141gb", "sglang", "fp16", "", "cublas-hopper"),
        ("h100-sxm5-80gb", "vllm", "fp8", "", "cutlass-fp8"),
        ("h100-sxm5-80gb", "sglang", "fp8", "sgl_kernel cutlass", "cutlass-fp8"),
        ("h100-sxm5-80gb", "trtllm", "fp8", "torch_flow", "cublas-hopper-fp8"),
        ("h100-sxm5-80gb", "trtllm", "fp8_block", "torch_flow", "deepgemm-quantised"),
        ("h100-sxm5-80gb", "vllm", "fp8_block", "", "deepgemm-quantised"),
        ("h100-sxm5-80gb", "vllm", "fp8_block", "CutlassFp8BlockScaledMMKernel", "cutlass-block-eager"),
        ("h100-sxm5-80gb", "vllm", "fp8_block", "DeepGemmFp8BlockScaledMMKernel", "deepgemm-block-eager"),
        ("h20-96gb", "deepgemm", "fp8_block", "", "deepgemm"),
        ("a100-sxm4-80gb", "vllm", "bf16", "", "cublas-ampere"),
        ("l40s", "vllm", "fp8", "", "generic-fp8"),
        ("b200-sxm-180gb", "vllm", "bf16", "", "generic-bf16"),
        ("mi300x", "vllm", "fp8_block", "", "generic-fp8"),
    ],
)
def test_device_framework_and_kernel_name_a_family(
    device: str, framework: str, dtype: str, source: str, family: str
) -> None:
    assert gemm_family(DEVICES.load(device), framework, dtype, source).name == f"gemm/{family}"


def test_an_unknown_dtype_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(InputError) as error:
        gemm_family(DEVICES.load("l40s"), "vllm", "fp7")
    assert str(error.value) == (
        "gemm dtype 'fp7' is unknown; did you mean 'fp8'? "
        "(allowed: fp32, tf32, fp16, bf16, fp8, int8, fp4, int4, fp8_block)"
    )


def test_shipped_gemm_fits_name_families_and_stay_within_their_bounds() -> None:
    names = [name for name in KERNEL_CALIBRATIONS.names if name.endswith(".gemm")]
    assert names
    for name in names:
        for fit in KERNEL_CALIBRATIONS.load(name).fits.values():
            family = GEMM[fit.family]
            assert len(family.parameters) <= 8
            assert [parameter.name for parameter in family.parameters] == list(fit.parameters), name
            for parameter in family.parameters:
                assert parameter.low * 0.99 <= fit.parameters[parameter.name] <= parameter.high * 1.01, (
                    name,
                    parameter,
                )
