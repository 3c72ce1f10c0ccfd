"""The price: one kernel's resources compete, streams run side by side, and every second is charged to someone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kvwall.hardware.calibration import CALIBRATIONS
from kvwall.hardware.system import make_system
from kvwall.simulator.prices import LEVELS, Prices
from kvwall.simulator.roofline import Bill, price
from kvwall.simulator.traffic import Kind, Operator, Resource, Stream, Term, Traffic, term

H100 = make_system("h100")
PEAKS = Prices(H100, None)
CLASS = CALIBRATIONS.load("uncalibrated")
REAL = Prices(H100, CLASS)


def some(resource: Resource, amount: float, **words: object) -> Term:
    return term("some work", resource, "x", "a test", x=np.float64(amount), **words)  # type: ignore[arg-type]


def operator(*terms: Term, kind: Kind = "gemm", launches: float = 0.0, stream: Stream = "compute") -> Operator:
    return Operator("attention", "kernel", kind, terms, launches, stream)


def bill(*operators: Operator, prices: Prices = REAL) -> Bill:
    return price(Traffic(operators), prices, keep_lines=True)


def test_the_bound_is_the_largest_of_a_kernel() -> None:
    """3.35 TB take one second of memory, 989.4 TFLOP one of the matrix unit, 67 TFLOP one of the vector unit."""
    kernel = operator(some("hbm", 3.35e12), some("matrix", 2 * 989.4e12), some("vector", 0.5 * 67e12), launches=100)
    assert bill(kernel, prices=PEAKS).step_s == pytest.approx(2.0)


def test_kernels_add_up_even_if_they_bind_on_different_resources() -> None:
    kernels = operator(some("hbm", 3.35e12)), operator(some("matrix", 989.4e12))
    assert bill(*kernels, prices=PEAKS).step_s == pytest.approx(2.0)


def test_terms_of_one_resource_add_up_within_a_kernel() -> None:
    assert bill(operator(some("hbm", 3.35e12), some("hbm", 3.35e12)), prices=PEAKS).step_s == pytest.approx(2.0)


def test_the_bound_ignores_what_can_be_avoided() -> None:
    assert bill(operator(some("hbm", 3.35e12, compulsory=False)), prices=PEAKS).step_s == 0


def test_a_kernel_reaches_a_part_of_the_peak_and_pays_its_launch() -> None:
    """0.80 of the memory rate and 2.3 us a launch are the middle of the class of matrix products."""
    assert bill(operator(some("hbm", 3.35e12), launches=1000)).step_s == pytest.approx(1 / 0.80 + 1000 * 2.3e-6)


def test_ends_of_the_band() -> None:
    kernel = operator(some("hbm", 3.35e12, spread=(0.5, 2.0)), launches=1)
    assert bill(kernel, prices=Prices(H100, CLASS, ("low",))).step_s == pytest.approx(0.5 / 0.93 + 1.2e-6)
    assert bill(kernel, prices=Prices(H100, CLASS, ("high",))).step_s == pytest.approx(2.0 / 0.60 + 5e-6)


def test_two_equal_resources_cost_a_fifth_more_and_a_line_says_so() -> None:
    """(1 + 1)^(1/4) = 1.189."""
    one = 3.35e12 * 0.80
    found = bill(operator(some("hbm", one), some("matrix", 989.4e12 * 0.68)))
    assert found.step_s == pytest.approx(2**0.25)
    assert {line.term.name: round(float(line.charged_s), 3) for line in found.lines if line.charged_s} == {
        "some work": 1.0,
        "imperfect overlap": 0.189,
    }
    assert sorted(float(line.charged_s) for line in found.lines)[0] == 0


def test_a_hidden_resource_is_charged_nothing_on_arrays_too() -> None:
    memory = term("read", "hbm", "x", "a test", x=np.array([3.35e12, 1.0]))
    found = bill(operator(memory, some("matrix", 1e14)))
    read, multiply = found.lines[0], found.lines[1]
    assert list(np.asarray(read.charged_s) > 0) == [True, False]
    assert list(np.asarray(multiply.charged_s) > 0) == [False, True]


def test_a_copy_hides_under_the_computation_until_it_is_longer() -> None:
    """63.015 GB are a second of the host link."""
    computing = operator(some("hbm", 3.35e12))
    short = operator(some("host link in", 63.015e9 / 2), kind="copy", stream="copy in")
    long = operator(some("host link in", 3 * 63.015e9), kind="copy", stream="copy in")
    assert bill(computing, short, prices=PEAKS).step_s == pytest.approx(1.0)
    found = bill(computing, long, prices=PEAKS)
    assert found.step_s == pytest.approx(3.0)
    charged = {line.term.resource: float(line.charged_s) for line in found.lines}
    assert charged == pytest.approx({"hbm": 1.0, "host link in": 2.0})


def test_both_directions_of_the_link_run_side_by_side() -> None:
    into = operator(some("host link in", 63.015e9), kind="copy", stream="copy in")
    out = operator(some("host link out", 63.015e9), kind="copy", stream="copy out")
    found = bill(into, out, prices=PEAKS)
    assert found.step_s == pytest.approx(1.0)
    assert sum(float(line.charged_s) for line in found.lines) == pytest.approx(1.0)


def test_eager_launches_bound_a_step_of_small_kernels() -> None:
    """2.5 ms of launching on the host are longer than 1,000 kernels of nothing with a floor of 1.4 us."""
    small = operator(some("hbm", 1.0), kind="elementwise", launches=1000)
    eager = bill(small, prices=Prices(H100, CLASS, ("mid",), host_launch_s=(2.5e-3,) * 3))
    assert eager.step_s == pytest.approx(2.5e-3)
    assert bill(small).step_s == pytest.approx(1.4e-3, rel=1e-6)
    assert sum(float(line.charged_s) for line in eager.lines) == pytest.approx(2.5e-3)
    assert "wait for launches" in {line.term.name for line in eager.lines}


def test_waits_add_to_a_kernel_instead_of_competing() -> None:
    hops = operator(some("scale up", 450e9), some("hops", 1000.0), kind="collective")
    assert bill(hops, prices=PEAKS).step_s == pytest.approx(1.0 + 1000 * 3.33e-6)


def test_conversions_are_free_where_the_matrix_unit_takes_the_codes() -> None:
    unpack = some("vector", 67e12, unless_native="fp8")
    assert bill(operator(unpack), prices=Prices(H100, None)).step_s == 0
    ampere = Prices(make_system("a100"), None)
    assert bill(operator(unpack), prices=ampere).step_s > 0


def test_an_fp8_product_runs_at_the_rate_of_the_unit_that_takes_it() -> None:
    product = some("matrix", 1978.9e12, dtype="fp8")
    assert bill(operator(product), prices=PEAKS).step_s == pytest.approx(1.0)
    ampere = bill(operator(product), prices=Prices(make_system("a100"), None)).step_s
    assert ampere == pytest.approx(1978.9 / 312, rel=1e-3)


def test_devices_of_one_host_share_its_memory_and_drives() -> None:
    work = operator(some("host dram", 1e12), kind="copy")
    alone, together = (bill(work, prices=Prices(make_system(on), None)).step_s for on in ("h100", "h100:8"))
    assert together == pytest.approx(8 * alone)


def test_no_work_takes_no_time() -> None:
    assert bill().step_s == 0
    assert bill(operator(some("hbm", 0.0))).step_s == 0


def test_the_smooth_maximum_survives_any_scale() -> None:
    for scale in (1e-12, 1.0, 1e12):
        kernel = operator(some("hbm", 3.35e12 * 0.8 * scale), some("matrix", 989.4e12 * 0.68 * scale))
        assert bill(kernel).step_s == pytest.approx(2**0.25 * scale)
    sharp = Prices(H100, replace_sharpness(100.0))
    assert bill(operator(some("hbm", 3.35e12 * 0.8), some("matrix", 989.4e12 * 0.34)), prices=sharp).step_s == (
        pytest.approx(1.0)
    )


def replace_sharpness(value: float) -> object:
    return CLASS.model_copy(update={"sharpness": value})


def test_a_bill_without_lines_is_the_same_time() -> None:
    kernel = operator(some("hbm", 1e12), some("matrix", 3e14), launches=3)
    assert price(Traffic((kernel,)), REAL).step_s == bill(kernel).step_s
    assert price(Traffic((kernel,)), REAL).lines == ()
    assert replace(kernel, launches=0).launches == 0


def test_all_levels_at_once_are_each_level_by_itself() -> None:
    """Prices of several levels have a leading axis, and each slice is what that level alone says."""
    work = operator(term("read", "hbm", "x", "a test", x=np.array([[1e9], [2e9]]), compulsory=False, spread=(0.5, 2.0)))
    together = np.asarray(bill(work, prices=Prices(H100, CLASS, LEVELS, ndim=2)).step_s)
    assert together.shape == (3, 2, 1)
    for position, level in enumerate(LEVELS):
        assert np.array_equal(together[position], bill(work, prices=Prices(H100, CLASS, (level,))).step_s)
