"""The report of a step: laws over schemes, devices and phases, and cases by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.answers.attention_io import attention_io
from kvwall.simulator.cache import Cache
from kvwall.simulator.dense import dense_cache
from kvwall.simulator.io.on_chip import on_chip
from kvwall.simulator.io.report import IoReport, io_report
from kvwall.simulator.io.scheme_kernels import decode_need
from kvwall.simulator.setup import Setup
from kvwall.simulator.stack import scheme_names

MODELS = ("llama-3.1-8b", "gemma-3-27b", "deepseek-v3", "deepseek-v3.2", "qwen3.5-27b")
STACKS = (
    *scheme_names(),
    "prefix:tokens=4096,cascade=true",
    "palu+int4",
    "quest+fp8",
    "streaming_llm+kivi+offload:fraction=0.5",
)
DEVICES = ("h100", "a100", "rtx-4090", "mi300x", "t4")
BATCH = np.array([[1.0], [48.0], [1e6]])
CONTEXT = np.array([1.0, 130.0, 5000.0, 300_000.0])


def _cache(setup: Setup, batch: Any = BATCH, context: Any = CONTEXT, prefill: bool = False) -> Cache:
    rows = np.asarray(batch) / (setup.deployment.dp * setup.deployment.attn_dp)
    query = context if prefill else np.float64(1.0)
    return setup.stack.rewrite(dense_cache(setup.model, rows, context, query_tokens=query, prefill=prefill))


def _report(setup: Setup, prefill: bool = False, **axes: Any) -> IoReport:
    setup.stack.check(setup.architecture)
    return io_report(setup, _cache(setup, prefill=prefill, **axes))


@pytest.mark.parametrize("prefill", [False, True], ids=["decode", "prefill"])
@pytest.mark.parametrize("scheme", STACKS)
@pytest.mark.parametrize("model", MODELS)
def test_laws(setup_of, model, scheme, prefill):
    context = CONTEXT[:3] if prefill else CONTEXT
    for device in DEVICES:
        try:
            report = _report(setup_of(model, scheme, device), prefill, context=context)
        except ForbiddenError:
            return
        for row in report.levels:
            where = (row.operator, row.level, device)
            assert np.all(row.compulsory_bytes >= 0), where
            assert np.all(row.bound_bytes >= row.compulsory_bytes), where
            assert np.all(row.moved_bytes >= row.bound_bytes * (1 - 1e-12)), where
            assert np.all(np.isfinite(row.ratio)), where
        for fusion in report.fusion:
            assert np.all(fusion.fused_bytes <= fusion.separate_bytes)
            assert np.all(fusion.separate_bytes <= fusion.unfused_bytes)


def _with_sram(setup: Setup, kib: float) -> Setup:
    device = setup.system.device
    units = device.units.model_copy(
        update={"sram_per_unit_bytes": kib * 1024, "sram_per_block_bytes": kib * 1024 - 1024}
    )
    return replace(setup, system=replace(setup.system, device=device.model_copy(update={"units": units})))


@pytest.mark.parametrize(
    ("model", "scheme"),
    [("llama-3.1-8b", "none"), ("llama-3.1-8b", "palu"), ("llama-3.1-8b", "kivi"), ("deepseek-v3", "int4")],
)
def test_more_shared_memory_never_moves_more_in_decode(setup_of, model, scheme):
    # A batch that fills the device without splitting keys: the number of splits is a rule of thumb, not a law.
    batch = np.array([500.0])[:, None]
    made = [_report(_with_sram(setup_of(model, scheme), kib), batch=batch) for kib in (20, 60, 100, 164, 228, 400)]
    for smaller, larger in itertools.pairwise(made):
        assert np.all(larger.levels[0].moved_bytes <= smaller.levels[0].moved_bytes)
        assert larger.fusion[0].fused >= smaller.fusion[0].fused
        # Heads that share a latent each walk it: rebuilding on chip spares device memory at the cost of the L2.
        if scheme != "palu":
            assert np.all(larger.levels[1].moved_bytes <= smaller.levels[1].moved_bytes)


def test_more_shared_memory_never_moves_more_into_the_units_in_prefill(setup_of):
    # Lengths of whole tiles, so that a larger tile wastes nothing at the diagonal.
    made = [
        _report(_with_sram(setup_of(), kib), True, context=np.array([4096.0])).levels[1].moved_bytes
        for kib in (20, 60, 100, 164, 228, 400)
    ]
    for few, many in itertools.pairwise(made):
        assert np.all(many <= few)


def test_dense_decode_by_hand(setup_of):
    # 32 layers, 8 sequences: 32768 tokens of 8 heads of 256 elements of 2 bytes; 32 heads of Q and O of 128.
    report = _report(setup_of(), batch=np.array([8.0]), context=np.array([32768.0]))
    expected = 32 * 8 * (32768 * 8 * 256 * 2 + 32 * 256 * 2)
    hbm, units = report.levels
    assert (hbm.level, units.level) == ("HBM -> chip", "L2 -> SM")
    assert float(hbm.compulsory_bytes[0]) == float(hbm.bound_bytes[0]) == float(units.bound_bytes[0]) == expected
    assert str(hbm.bound[0]).startswith("compulsory")
    # 64 blocks on 132 units: one block a head wastes half of them and two do not, so 2 splits write and read 129
    # floats a row twice, and each row's log-sum-exp is written.
    extra = 32 * 8 * 32 * (2 * 2 * 4 * 129 + 4)
    assert float(hbm.moved_bytes[0]) == expected + extra
    # Into the units each split reads the queries again.
    assert float(units.moved_bytes[0]) == expected + extra + 32 * 8 * 32 * 128 * 2
    assert (hbm.capacity_bytes, units.capacity_bytes) == ((50 * 1024 + 132 * 512) * 1024, 512 * 1024)


def test_prefill_into_the_units_by_hand(setup_of):
    # One sequence of 4096 tokens: 32 blocks of 128 rows visit 528 tiles of 128 keys, per layer and query head.
    _, units = _report(setup_of(), True, batch=np.array([1.0]), context=np.array([4096.0])).levels
    assert float(units.moved_bytes[0]) == 32 * 32 * 2 * (4096 * 128 * 2 + 528 * 128 * 256)
    # P q w / M - n M = 32 * (4096 * 4097 / 2) * 256 * 512 / (512 KiB) - 132 * 512 KiB is less than compulsory here.
    assert str(units.bound[0]).startswith("compulsory")


def test_a_long_prefill_is_bounded_by_its_capacity(setup_of):
    n = 131072.0
    hbm, units = _report(setup_of(), True, batch=np.array([1.0]), context=np.array([n])).levels
    m = 512 * 1024
    assert float(units.bound_bytes[0]) == pytest.approx(32 * (32 * n * (n + 1) / 2 * 256 * 512 / m - 132 * m))
    assert float(units.constant[0]) == pytest.approx(2, rel=0.01)
    assert "proved" in str(units.bound[0])
    assert float(hbm.bound_bytes[0]) < float(units.bound_bytes[0]) < float(units.moved_bytes[0])


def test_rebuilding_keys_fits_a_large_unit_and_not_a_small_one(setup_of):
    large, small = (_report(setup_of(scheme="palu", on=on)) for on in ("h100", "rtx-4090"))
    assert large.fusion[0].fused
    assert large.fusion[0].why == (
        "rebuild keys inside the kernel; 16 x 64 tile: 212 KiB of 227 KiB shared memory, 20 KiB of 205 KiB accumulators"
    )
    assert not small.fusion[0].fused
    assert small.fusion[0].why == (
        "rebuild keys does not fit: smallest 16 x 16 tile: 104 KiB of 99 KiB shared memory, "
        "17 KiB of 205 KiB accumulators, 64 KiB of it factors; a kernel of its own writes a 16-bit copy"
    )
    # The copy of the rebuilt keys: 32 layers of 8 heads of 128 elements of 2 bytes, written and read.
    tokens = BATCH * CONTEXT
    assert small.levels[0].moved_bytes - small.fusion[0].fused_bytes == pytest.approx(2 * 32 * 8 * 256 * tokens)
    # Fused, each of the four heads that share a latent walks it into the units.
    ratio = float(large.levels[1].moved_bytes[1, 3] / large.levels[1].compulsory_bytes[1, 3])
    assert ratio == pytest.approx(4, rel=0.01)


def test_what_a_decode_kernel_holds(setup_of):
    chip = on_chip(setup_of().system.device)

    def need(model: str, scheme: str) -> Any:
        setup = setup_of(model, scheme, "h100")
        return decode_need(_cache(setup).groups[0], chip)

    plain = need("llama-3.1-8b", "none")
    assert (plain.fused.staged_row_bytes, plain.fused.converted_row_bytes, plain.work) == (512, 0, ())
    # Palu at one half: latents of rank 256 for keys and values, a factor of 256 x 128, keys rebuilt to 128.
    palu = need("llama-3.1-8b", "palu")
    assert (palu.fused.staged_row_bytes, palu.fused.converted_row_bytes) == (1024, 256)
    assert (palu.fused.resident_bytes, palu.fused.output_dim, palu.work) == (65536, 256, ("rebuild keys",))
    # A pair needs the rebuilt key (256 bytes, fewer than its latent) and the value latent (512).
    assert palu.least_row_bytes == 768
    # 8-bit codes are operands on this device; the 656-byte latent row is converted but for its rotary key.
    fp8 = need("llama-3.1-8b", "fp8")
    assert (fp8.fused.staged_row_bytes, fp8.fused.converted_row_bytes) == (256, 0)
    mla = need("deepseek-v3", "fp8")
    assert (mla.heads, mla.fused.staged_row_bytes, mla.fused.converted_row_bytes) == (1, 656, 1024)
    assert (mla.fused.query_row_bytes, mla.fused.output_dim) == (1152, 512)


def test_a_prefix_read_once_is_walked_by_the_queries_of_all(setup_of):
    # 64 sequences share 1024 of 2048 tokens: 64 x 4 rows a head are 16 tiles of 16 rows instead of 64 reads.
    setup = setup_of(scheme="prefix:tokens=1024,cascade=true")
    batch, context = np.array([64.0]), np.array([2048.0])
    hbm, units = _report(setup, batch=batch, context=context).levels
    prefix = 32 * 1024 * 8 * 256 * 2
    own = 64 * prefix
    ends = 32 * 64 * 32 * 256 * 2
    lse = 32 * 64 * 32 * 4
    assert float(hbm.compulsory_bytes[0]) == pytest.approx(prefix + own + ends)
    assert float(units.moved_bytes[0]) == pytest.approx(16 * prefix + own + ends + lse)


def test_ranks_and_replicas_add_up(setup_of):
    one = _report(setup_of(on="h100"), batch=np.array([8.0]), context=np.array([8192.0])).levels[0]
    four = _report(setup_of(on="h100:4", split={"tp": 4}), batch=np.array([8.0]), context=np.array([8192.0])).levels[0]
    two = _report(setup_of(on="h100:2", split={"tp": 1, "dp": 2}), batch=np.array([16.0]), context=np.array([8192.0]))
    assert float(four.compulsory_bytes[0]) == float(one.compulsory_bytes[0])
    assert float(two.levels[0].compulsory_bytes[0]) == 2 * float(one.compulsory_bytes[0])


def test_devices_without_stated_memory_have_no_levels_and_no_limit(setup_of):
    report = _report(setup_of(on="tpu-v5e"))
    (row,) = report.levels
    assert (row.level, row.capacity_bytes) == ("HBM -> chip", None)
    assert np.all(row.bound_bytes == row.compulsory_bytes)
    assert np.all(row.constant == 0)
    assert report.fusion[0].fused
    assert report.fusion[0].why.endswith("the data sheet states no memory per unit")


def test_bounds_count_all_memory_near_the_units(setup_of):
    # Data caches of 256 KiB, registers of 256 KiB, and tensor memory of 256 KiB on the newer of the two.
    assert [on_chip(setup_of(on=on).system.device).unit_bytes for on in ("h100", "b200")] == [512 * 1024, 768 * 1024]
    # The memory-side cache of this device is on no record here, so its chip capacity is unknown.
    row = _report(setup_of(on="mi300x"), True, batch=np.array([1.0]), context=np.array([131072.0])).levels[1]
    assert (row.level, row.capacity_bytes) == ("L2 -> SM", None)
    assert np.all(row.bound_bytes == row.compulsory_bytes)


def test_recurrent_layers_have_no_attention(setup_of):
    assert {row.operator for row in _report(setup_of("qwen3.5-27b")).levels} == {"decode attention (full)"}


def test_a_grid_is_its_points(setup_of):
    whole = _report(setup_of(scheme="kivi"))
    for (i, batch), (j, context) in ((b, c) for b in enumerate(BATCH[:, 0]) for c in enumerate(CONTEXT)):
        point = _report(setup_of(scheme="kivi"), batch=np.array([batch]), context=np.array([context]))
        for row, cell in zip(whole.levels, point.levels, strict=True):
            assert row.moved_bytes[i, j] == pytest.approx(cell.moved_bytes[0])
            assert row.bound_bytes[i, j] == pytest.approx(cell.bound_bytes[0])


def test_answers_are_plain_numbers(setup_of):
    setup = setup_of(scheme="palu")
    made = attention_io(setup, _cache(setup, np.array([4.0]), np.array([9000.0])))
    report = _report(setup, batch=np.array([4.0]), context=np.array([9000.0]))
    assert [level.moved_bytes for level in made.levels] == [float(row.moved_bytes[0]) for row in report.levels]
    assert [level.level for level in made.levels] == ["HBM -> chip", "L2 -> SM"]
    assert made.fusion[0].separate_bytes == float(report.fusion[0].separate_bytes[0])
    assert made.model_dump_json()
