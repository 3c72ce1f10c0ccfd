"""The roofline with a launch: work counted by hand, who is priced by it, and what it never undercuts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from kvwall.hardware.device import DEVICES
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.choosing import Chooser
from kvwall.simulator.predicting.families import families, family_names
from kvwall.simulator.predicting.folds import fold_of
from kvwall.simulator.predicting.names import cache_format_of, dtype_of, kernel_of
from kvwall.simulator.predicting.prediction import Kernel, predict_kernels
from kvwall.simulator.predicting.table import read_table

#: 320 GB/s, 8.1 TFLOP/s in fp32, 4 MiB of cache.
T4 = machine_of(DEVICES.load("t4"))
CPU = "cpu-2s-epyc-9654"

#: As sharp a maximum as the family allows, and nothing lost to it.
PERFECT = {"launch_us": 10.0, "hbm_fraction": 1.0, "matrix_fraction": 1.0, "overlap": 8.0}


def _seconds(name: str, points: Points, parameters: dict[str, float]) -> float:
    return float(families()[f"roofline/{name}"].seconds(points, parameters, T4))


def test_fp32_decode_reads_its_cache_once_or_computes() -> None:
    shape = {"batch": 2.0, "kv_len": 1000.0, "kv_heads": 8.0, "head_dim": 128.0, "value_dim": 128.0}
    # 2 x 1000 tokens x 8 heads x 256 channels and 2 x 8 rows of 256, 4 bytes each: 16.4 MB, 51.3 us at 320 GB/s.
    moved = 2 * 1000 * 8 * 256 * 4 + 2 * 8 * 256 * 4
    assert _seconds("decode-fp32", Points(q_heads=8.0, **shape), PERFECT) == pytest.approx(
        10e-6 + moved / 320e9, rel=1e-3
    )
    # With 512 query heads a tenth of the peak is the longer: 2 x 2 x 512 heads x 1000 tokens x 256 channels.
    slow = {**PERFECT, "matrix_fraction": 0.1}
    flops = 2 * 2 * 512 * 1000 * 256
    expected = 10e-6 + flops / (0.1 * T4.matrix_flops_per_s["fp32"])
    assert _seconds("decode-fp32", Points(q_heads=512.0, **shape), slow) == pytest.approx(expected, rel=1e-3)


def test_a_latent_is_read_once_as_key_and_as_value() -> None:
    points = Points(batch=1.0, kv_len=2000.0, q_heads=1.0, kv_heads=1.0, head_dim=576.0, value_dim=512.0)
    moved = (2000 * 576 + 576 + 512) * 2
    assert _seconds("mla-decode-bf16", points, PERFECT) == pytest.approx(10e-6 + moved / 320e9, rel=1e-3)


def test_a_product_of_several_rows_passes_over_its_weights_as_often_as_it_says() -> None:
    passes = {**PERFECT, "row_passes": 2.0}
    one, two = (Points(m=m, n=1000.0, k=1000.0) for m in (1.0, 2.0))
    assert _seconds("gemm-fp32", one, passes) == pytest.approx(10e-6 + (1000 + 1e6 + 1000) * 4 / 320e9, rel=1e-3)
    assert _seconds("gemm-fp32", two, passes) == pytest.approx(10e-6 + 2 * (2000 + 1e6 + 2000) * 4 / 320e9, rel=1e-3)


def test_a_short_copy_leaves_what_it_wrote_in_the_cache() -> None:
    numbers = {"launch_us": 1.0, "fill_us": 4.0, "hbm_fraction": 1.0, "l2_share": 1.0, "cached_cost": 0.25}
    payload = 2.0**20  # both buffers fill half of 4 MiB
    # Cold: the fill, one payload from memory, one at a quarter of the time into the cache. Warm: two at a quarter.
    cold = _seconds("memory_copy", Points(message_bytes=payload, warm=0.0), numbers)
    warm = _seconds("memory_copy", Points(message_bytes=payload, warm=1.0), numbers)
    assert cold == pytest.approx(5e-6 + 1.25 * payload / 320e9, rel=1e-2)
    assert warm == pytest.approx(1e-6 + 0.5 * payload / 320e9, rel=2e-2)
    # 256 times the cache: both ways through memory, warm or not.
    assert _seconds("memory_copy", Points(message_bytes=2.0**30, warm=1.0), numbers) == pytest.approx(
        1e-6 + 2 * 2.0**30 / 320e9, rel=1e-2
    )


@pytest.mark.parametrize("name", [name for name in families() if name.startswith("roofline/")])
def test_nothing_cold_undercuts_the_data_sheet(name: str) -> None:
    family = families()[name]
    best = {
        parameter.name: parameter.low if parameter.unit == "us" else parameter.high for parameter in family.parameters
    }
    points = Points(
        batch=4.0, kv_len=np.array([10.0, 1e3, 1e5]), q_len=2.0, q_heads=8.0, kv_heads=2.0, m=64.0, n=512.0, k=512.0,
        message_bytes=1e7, moved_bytes=1e7, flops=1e10,
    )  # fmt: skip
    assert np.all(family.seconds(points, best, T4) >= family.ideal_seconds(points, T4))
    assert len(family.parameters) <= 8


def _family(device: str, kernel: str, dtype: str, kv_dtype: str, **shape: float) -> str:
    named = Kernel(device, device, kernel, kernel, "torch", "", dtype, kv_dtype)
    points = Points(**{name: np.array([value]) for name, value in {"batch": 1.0, **shape}.items()})
    return str(family_names(named, points, "device").item())


@pytest.mark.parametrize(
    ("device", "kernel", "dtype", "kv_dtype", "name"),
    [
        (CPU, "decode_attention", "fp32", "fp32", "roofline/decode-fp32"),
        (CPU, "prefill_attention", "bf16", "bf16", "roofline/prefill-bf16"),
        (CPU, "mla_decode", "fp32", "fp32", "roofline/mla-decode-fp32"),
        (CPU, "gemm", "bf16", "bf16", "roofline/gemm-bf16"),
        (CPU, "gemm", "int8", "int8", "gemm/generic-int8"),
        (CPU, "host_gather", "fp32", "fp32", "roofline/host_gather"),
        ("t4", "host_gather", "bf16", "bf16", "copy/gather"),
        ("t4", "decode_attention", "fp32", "fp32", "roofline/decode-fp32"),
        ("t4", "decode_attention", "fp16", "fp16", "decode/generic"),
        ("t4", "gemm", "fp32", "fp32", "gemm/generic-fp32"),
        ("t4", "memory_copy", "bf16", "bf16", "roofline/memory_copy"),
        ("t4", "sparse_decode", "bf16", "bf16", "roofline/sparse_decode-bf16"),
        ("t4", "evict", "int8", "int8", ""),
    ],
)
def test_who_is_priced_by_the_roofline(device: str, kernel: str, dtype: str, kv_dtype: str, name: str) -> None:
    assert _family(device, kernel, dtype, kv_dtype) == name


def test_a_packed_cache_has_a_model_where_its_row_states_the_work() -> None:
    stated = {"moved_bytes": 1e6, "flops": 1e6}
    assert _family("t4", "decode_attention", "fp16", "kivi2", **stated) == "roofline/decode_kivi-fp16"
    assert _family("t4", "decode_attention", "fp16", "kivi4", **stated) == "roofline/decode_kivi-fp16"
    assert _family("t4", "decode_attention", "fp16", "int4", **stated) == "roofline/decode_int4-fp16"
    assert _family("t4", "decode_attention", "fp16", "kivi2") == ""
    assert _family("t4", "quantize", "bf16", "int2", **stated) == "roofline/quantize-bf16"
    assert _family("t4", "quantize", "bf16", "int2") == "quantize/per-token"


def test_rows_that_state_their_work_are_predicted_and_others_say_what_they_lack(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(
        "gpu,framework,kernel,dtype,kv_dtype,batch,q_len,kv_len,n_q_heads,n_kv_heads,head_dim,message_bytes,cache,extra\n"
        "t4,kvwall,sparse_decode,bf16,bf16,,,,,,,,cold,moved_bytes=3e8;flops=1e6\n"
        "t4,kvwall,sparse_decode,bf16,bf16,,,,,,,,cold,flops=1e6\n"
        "t4,torch,memory_copy,bf16,,,,,,,,3e8,cold,\n"
        "t4,kvwall,decode_attention,fp16,kivi2,1,1,4096,32,8,128,,cold,moved_bytes=3e8;flops=1e6\n"
        "t4,kvwall,decode_attention,fp16,kivi3,1,1,4096,32,8,128,,cold,\n"
    )
    found = predict_kernels(read_table(path), Chooser())
    # 3e8 bytes at 320 GB/s take 937.5 us; a copy moves its payload twice, and keeps 4 MiB of the write in the cache.
    assert found.ideal_us[[0, 3]] == pytest.approx(937.5)
    assert found.ideal_us[2] == pytest.approx((6e8 - 4 * 2**20) / 320e9 * 1e6)
    assert found.note[1] == "moved_bytes is missing, sparse_decode needs it"
    assert found.note[4] == "unknown kv_dtype 'kivi3'; did you mean 'kivi4'?"


def test_names_of_kernels_and_caches() -> None:
    assert [kernel_of(name).name for name in ("memory_copy", "launch", "rematerialize")] == [
        "memory_copy", "launch", "rematerialize",
    ]  # fmt: skip
    assert cache_format_of("kivi2").name == "kivi2"
    assert cache_format_of("BF16").name == "bf16"
    assert dtype_of("kivi2").name == ""


def test_folds_of_kernels_that_state_nothing_are_those_of_earlier_calibrations() -> None:
    # Until rows could state their work, a shape was these columns, hashed in this order.
    columns = (2.0, 1.0, 4096.0, 32.0, 8.0, 128.0, 128.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0)
    digest = hashlib.blake2b(np.array(columns, dtype="<f8").tobytes(), digest_size=8).digest()
    points = Points(batch=np.array([2.0]), kv_len=4096.0, q_heads=32.0, kv_heads=8.0, warm=1.0)
    assert fold_of(points)[0] == int.from_bytes(digest, "big") % 5
    stated = fold_of(Points(moved_bytes=np.arange(1.0, 50.0), flops=1.0))
    assert len(set(stated.tolist())) == 5
