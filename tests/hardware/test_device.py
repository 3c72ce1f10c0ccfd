"""The device data: sane figures, sources everywhere, and the arithmetic that ties a peak to its units and clock."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from kvwall.hardware.device import DEVICES, Device
from kvwall.hardware.document import Sourced

NAMES = DEVICES.names

#: Dense 16-bit FLOP a clock and unit with fp32 accumulation, by architecture (NVIDIA and AMD white papers).
FLOP_PER_CLOCK = {
    "v100-sxm2-32gb": 1024,
    "t4": 1024,
    "rtx-2080-ti": 512,
    "titan-rtx": 1024,
    "a10": 1024,
    "a10g": 512,
    "a40": 1024,
    "rtx-a5000": 1024,
    "rtx-a6000": 1024,
    "rtx-3090": 512,
    "a30": 2048,
    "a100-sxm4-40gb": 2048,
    "a100-sxm4-80gb": 2048,
    "a100-pcie-40gb": 2048,
    "a100-pcie-80gb": 2048,
    "l4": 1024,
    "l20": 512,
    "l40s": 1024,
    "rtx-4060": 512,
    "rtx-4070-ti-super": 512,
    "rtx-4080-super": 512,
    "rtx-4090": 512,
    "rtx-6000-ada": 1024,
    "h100-sxm5-80gb": 4096,
    "h100-pcie-80gb": 4096,
    "h100-nvl-94gb": 4096,
    "h800-sxm5-80gb": 4096,
    "h200-sxm-141gb": 4096,
    "h200-nvl-141gb": 4096,
    "gh200-96gb": 4096,
    "gh200-144gb": 4096,
    "b200-sxm-180gb": 8192,
    "b300-sxm-288gb": 8192,
    "gb200": 8192,
    "gb300": 8192,
    "rtx-5060-ti-16gb": 512,
    "rtx-5070-laptop": 512,
    "rtx-5070-ti": 512,
    "rtx-5090": 512,
    "rtx-pro-6000-blackwell-server": 1024,
    "gb10": 1024,
    "mi210": 1024,
    "mi250x": 1024,
    "mi300x": 2048,
    "mi325x": 2048,
    "mi355x": 4096,
    "arc-pro-b50": 2048,
}


def leaves(model: BaseModel) -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value)
        else:
            yield name, value


def blocks(model: BaseModel) -> Iterator[Sourced]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Sourced):
            yield value
        if isinstance(value, BaseModel):
            yield from blocks(value)


@pytest.mark.parametrize("name", NAMES)
def test_every_quantity_is_a_number(name: str) -> None:
    quantities = {
        key: value
        for key, value in leaves(DEVICES.load(name))
        if key.endswith(("_bytes", "_s", "_hz", "_w", "_usd", "_joules")) or key in ("fp16", "bf16", "fp8", "int8")
    }
    assert len(quantities) > 10
    assert [key for key, value in quantities.items() if not isinstance(value, float | None)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_block_says_where_it_is_from(name: str) -> None:
    device = DEVICES.load(name)
    assert all(len(block.source) > 5 for block in blocks(device))
    assert device.aliases
    assert device.status


@pytest.mark.parametrize("name", NAMES)
def test_capacities_bandwidths_and_peaks_are_credible(name: str) -> None:
    device = DEVICES.load(name)
    assert 7e9 < device.hbm.capacity_bytes < 3e12
    # The processor of a board or a laptop has a few cores and no matrix unit.
    # Accelerators that one paper simulated are small, too.
    small = name.startswith("cpu-") or DEVICES.load(name).form == "asic"
    least_bandwidth, least_peak = (1.7e10, 1e11) if small else (2e11, 1.5e13)
    assert least_bandwidth <= device.hbm.bandwidth_bytes_per_s <= 8e12
    assert least_peak <= device.matrix_flops_per_s("bf16") <= 2.6e15
    assert device.vector_flops_per_s <= device.matrix_flops_per_s("bf16")
    # Half the bits give the same dense rate or twice it; four times would be a sparse figure.
    ratio = device.matrix_flops_per_s("fp8") / device.matrix_flops_per_s("bf16")
    assert ratio == 1 or ratio == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_smaller_than_wholes(name: str) -> None:
    device = DEVICES.load(name)
    units = device.units
    if units.sram_per_block_bytes:
        assert units.sram_per_unit_bytes is not None
        assert units.sram_per_block_bytes <= units.sram_per_unit_bytes
    if units.matrix_clock_hz and units.boost_clock_hz:
        assert units.matrix_clock_hz <= units.boost_clock_hz
    assert device.power.floor_w < 0.3 * device.power.limit_w
    assert device.launch.graph_s <= device.launch.eager_s
    if device.l2:
        assert device.l2.capacity_bytes < 0.05 * device.hbm.capacity_bytes
        assert (device.l2.bandwidth_bytes_per_s or 1e13) > device.hbm.bandwidth_bytes_per_s
    if device.price:
        low, high = device.price.low_usd, device.price.high_usd
        assert (low or 0) <= device.price.per_hour_usd <= (high or 1e9)


@pytest.mark.parametrize("name", NAMES)
def test_energy_stays_under_limit_over_peak(name: str) -> None:
    device = DEVICES.load(name)
    limit = device.power.limit_w
    assert device.energy.per_byte_joules <= limit / device.hbm.bandwidth_bytes_per_s
    # The three boards that were measured reach 60 to 70 % of their peak, so a FLOP there costs up to 1.5 x the bound.
    measured = name in ("h200-sxm-141gb", "b200-sxm-180gb", "gb200")
    bound = limit / device.matrix_flops_per_s("bf16")
    assert device.energy.per_flop_joules <= (1.5 if measured else 1.01) * bound


@pytest.mark.parametrize(("name", "flop_per_clock"), FLOP_PER_CLOCK.items())
def test_the_dense_peak_is_units_times_clock_times_rate(name: str, flop_per_clock: int) -> None:
    device = DEVICES.load(name)
    assert device.units.matrix_clock_hz is not None
    computed = device.units.count * device.units.matrix_clock_hz * flop_per_clock
    assert device.matrix_flops_per_s("fp16") == pytest.approx(computed, rel=0.02)


def test_every_graphics_card_but_the_export_capped_one_is_checked_by_its_clock() -> None:
    cards = {name for name in NAMES if DEVICES.load(name).vendor == "nvidia"}
    assert cards - set(FLOP_PER_CLOCK) == {"h20-96gb"}


@pytest.mark.parametrize(
    ("name", "one_way_bytes_per_s"),
    [
        ("v100-sxm2-32gb", 150e9),
        ("a100-sxm4-80gb", 300e9),
        ("h100-sxm5-80gb", 450e9),
        ("h800-sxm5-80gb", 200e9),
        ("h20-96gb", 450e9),
        ("b200-sxm-180gb", 900e9),
        ("gb200", 900e9),
        ("rtx-3090", 56.25e9),
        ("mi300x", 448e9),
        ("tpu-v5e", 200e9),
        ("tpu-v5p", 600e9),
    ],
)
def test_links_are_one_way(name: str, one_way_bytes_per_s: float) -> None:
    link = DEVICES.load(name).scale_up
    assert link is not None
    assert link.bandwidth_bytes_per_s == one_way_bytes_per_s


@pytest.mark.parametrize("name", NAMES)
def test_host_links_are_one_way_and_their_achievable_rate_is_lower(name: str) -> None:
    link = DEVICES.load(name).host_link
    if link is None:
        assert name.startswith("cpu-")
    elif link.kind.startswith("pcie"):
        assert link.bandwidth_bytes_per_s <= 121e9
        assert link.achievable_bytes_per_s is not None
        assert 0.75 <= link.achievable_bytes_per_s / link.bandwidth_bytes_per_s <= 0.9


def test_how_many_devices_a_link_joins() -> None:
    reaches = {name: DEVICES.load(name).scale_up for name in ("h100", "h100_nvl", "a100_pcie", "gb200", "h200_nvl")}
    assert {name: link.reach for name, link in reaches.items() if link} == {
        "h100": 8,
        "h100_nvl": 2,
        "a100_pcie": 2,
        "gb200": 72,
        "h200_nvl": 4,
    }
    assert all(DEVICES.load(name).scale_up is None for name in ("l4", "l40s", "rtx4090", "rtx5090", "t4", "a10g"))


def test_the_traps_of_data_sheets() -> None:
    """Label and driver differ; sparse is not dense; a unit that was dropped is not there."""
    load = DEVICES.load
    assert load("h100").hbm.capacity_bytes == 81559 * 2**20
    assert load("b300").hbm.capacity_bytes == pytest.approx(288.4e9, rel=1e-3)
    assert load("l4").matrix_flops_per_s("bf16") == 121e12
    assert load("rtx5090").matrix_flops_per_s("bf16") == 209.5e12
    assert load("b300").matrix_peaks.int8 == 153.5e12
    assert load("b300").matrix_peaks.fp4 == 13.5e15
    assert load("a100").matrix_peaks.fp8 is None
    assert load("h100").matrix_peaks.int4 is None
    assert load("v100").matrix_peaks.bf16 is None
    assert load("v100").matrix_peaks.int8 is None
    assert load("v100").vector_peaks.int8 == 62.8e12
    assert load("gb200").hbm.bandwidth_bytes_per_s == 8e12


def test_a_product_falls_back_to_a_dtype_the_device_has() -> None:
    a100, h100, v100 = (DEVICES.load(name) for name in ("a100", "h100", "v100"))
    assert a100.matrix_dtype("fp8") == "bf16"
    assert not a100.native_fp8
    assert h100.matrix_dtype("fp8") == "fp8"
    assert h100.matrix_dtype("fp4") == "fp8"
    assert h100.matrix_dtype("int4") == "int8"
    assert v100.matrix_dtype("bf16") == "fp16"
    assert h100.matrix_flops_per_s("fp32") == h100.vector_flops_per_s == 67e12


def test_cards_from_one_source_say_so() -> None:
    single = {name for name in NAMES if DEVICES.load(name).single_source}
    assert {"a10", "rtx-2080-ti", "rtx-5060-ti-16gb", "rtx-6000-ada", "rtx-5070-laptop", "arc-pro-b50"} <= single
    assert "h100-sxm5-80gb" not in single


def test_measured_rates_stay_below_the_specification() -> None:
    for name in NAMES:
        device = DEVICES.load(name)
        if device.measured:
            gemm = device.measured.gemm_bf16_flops_per_s
            read = device.measured.stream_read_bytes_per_s
            assert gemm is None or gemm < device.matrix_flops_per_s("bf16")
            assert read is None or read < device.hbm.bandwidth_bytes_per_s


def test_a_device_file_needs_no_link_and_no_price() -> None:
    assert {name for name, field in Device.model_fields.items() if not field.is_required()} >= {
        "host_link",
        "scale_up",
        "scale_out",
        "l2",
        "price",
    }
