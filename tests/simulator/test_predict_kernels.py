"""Predictions of kernel tables: names, shapes, bounds, bands and the choice of a calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kvwall.simulator.kernel_time.family import Family, Parameter
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting import families
from kvwall.simulator.predicting.choosing import Chooser, Fitted
from kvwall.simulator.predicting.fits import chooser_of
from kvwall.simulator.predicting.names import device_of, dtype_of, kernel_of
from kvwall.simulator.predicting.prediction import Prediction, predict_kernels
from kvwall.simulator.predicting.table import Table, read_table

COLUMNS = "gpu,framework,kernel,dtype,kv_dtype,batch,q_len,kv_len,n_q_heads,n_kv_heads,head_dim,m,n,k,cache,extra"
#: Data sheet of the H100 SXM: bytes and dense bf16 FLOP per second, and one-way NVLink.
H100_BYTES, H100_FLOPS, H100_LINK = 3.35e12, 989.4e12, 450e9


def _table(folder: Path, *rows: str) -> Table:
    path = folder / "points.csv"
    width = COLUMNS.count(",") + 1
    padded = [row + "," * (width - 1 - row.count(",")) for row in rows]
    path.write_text("\n".join([COLUMNS, *padded]) + "\n")
    return read_table(path)


def _predicted(folder: Path, *rows: str, chooser: Chooser | None = None) -> Prediction:
    return predict_kernels(_table(folder, *rows), chooser or Chooser())


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [("bfloat16", "bf16"), ("half", "fp16"), ("FP8_E4M3", "fp8"), ("fp8-block", "fp8_block"), ("int8", "int8")],
)
def test_number_formats_have_many_spellings(spelled: str, meant: str) -> None:
    assert dtype_of(spelled).name == meant


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [
        ("AllReduce", "all_reduce"),
        ("reducescatter", "reduce_scatter"),
        ("all_to_all", "alltoall"),
        ("P2P", "send_recv"),
        ("quant_scale_matrix", "quantize"),
        ("Decode Attention", "decode_attention"),
    ],
)
def test_kernels_have_many_spellings(spelled: str, meant: str) -> None:
    assert kernel_of(spelled).name == meant


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [
        ("h100_sxm", "h100-sxm5-80gb"),
        ("H100 DGX", "h100-sxm5-80gb"),
        ("a100_pairwise_nvlink", "a100-pcie-80gb"),
        ("h100_pairwise_nvlink", "h100-nvl-94gb"),
        ("a40_pairwise_nvlink", "a40"),
        ("rtx4090", "rtx-4090"),
        ("h20", "h20-96gb"),
    ],
)
def test_a_machine_is_the_device_it_is_built_of(spelled: str, meant: str) -> None:
    assert device_of(spelled).name == meant


def test_the_bound_of_decode_attention_reads_the_cache_once(tmp_path: Path) -> None:
    # 16 sequences of 4096 tokens, 8 KV heads of 128 channels, keys and values in 2 bytes: 268 435 456 bytes.
    # Queries and answers of 32 heads: 16 * 32 * 256 * 2 = 262 144 bytes.
    found = _predicted(tmp_path, "h100,vllm,decode_attention,bf16,bf16,16,1,4096,32,8,128")
    assert found.ideal_us[0] == pytest.approx((268_435_456 + 262_144) / H100_BYTES * 1e6, rel=1e-9)
    assert found.bound_by[0] == "hbm"


def test_an_fp8_cache_halves_the_bytes_and_a_window_cuts_them(tmp_path: Path) -> None:
    row = "h100,vllm,decode_attention,bf16,{},1,1,{},8,8,128,,,,"
    wide, narrow = _predicted(tmp_path, row.format("bf16", 65536), row.format("fp8", 65536)).ideal_us
    assert narrow == pytest.approx(wide / 2, rel=1e-3)


def test_the_bound_of_a_causal_prefill_counts_half_of_the_square(tmp_path: Path) -> None:
    # One sequence of 8192 new tokens: 8192 * 8193 / 2 pairs, two products of 2 * 128 FLOP, 32 heads.
    found = _predicted(tmp_path, "h100,vllm,prefill_attention,bf16,bf16,1,8192,8192,32,8,128")
    assert found.ideal_us[0] == pytest.approx(8192 * 8193 / 2 * 4 * 128 * 32 / H100_FLOPS * 1e6, rel=1e-9)
    assert found.bound_by[0] == "matrix"


def test_a_latent_is_read_once_for_keys_and_values(tmp_path: Path) -> None:
    # 64 * 8192 tokens of 576 channels in 2 bytes, and 16 heads of 576 + 512 channels in and out.
    found = _predicted(tmp_path, "h100,trtllm,mla_decode,bf16,bf16,64,1,8192,16,1,576")
    moved = 64 * 8192 * 576 * 2 + 64 * 16 * (576 + 512) * 2
    assert found.ideal_us[0] == pytest.approx(moved / H100_BYTES * 1e6, rel=1e-9)


def test_an_all_reduce_must_send_its_share_and_a_send_all_of_it(tmp_path: Path) -> None:
    message = "num_gpus={};message_bytes=67108864"
    rows = ["h100_dgx,nccl,all_reduce,fp16" + "," * 12 + message.format(8)]
    rows.append("h100_dgx,nccl,send_recv,fp16" + "," * 12 + message.format(2))
    found = _predicted(tmp_path, *rows)
    assert found.ideal_us == pytest.approx([7 / 8 * 67108864 / H100_LINK * 1e6, 67108864 / H100_LINK * 1e6])
    assert found.bound_by == ("link", "link")


def test_ranks_beyond_a_bridge_or_a_node_use_slower_links(tmp_path: Path) -> None:
    def row(gpu: str, ranks: int, per_node: int) -> str:
        return f"{gpu},nccl,all_reduce,fp16{',' * 12}num_gpus={ranks};message_bytes=1e9;devices_per_node={per_node}"

    inside, bridged, hosts, nodes = _predicted(
        tmp_path,
        row("h100_dgx", 4, 4),
        row("h100_pairwise_nvlink", 2, 2),
        row("h100_pairwise_nvlink", 4, 4),
        row("h100_dgx", 4, 2),
    ).ideal_us
    # A bridge carries 300 GB/s one way.
    assert (inside, bridged) == (pytest.approx(0.75 * 1e9 / H100_LINK * 1e6), pytest.approx(0.5 * 1e9 / 300e9 * 1e6))
    # PCIe gen 5 x16 carries 63.015 GB/s one way.
    assert hosts == pytest.approx(0.75 * 1e9 / 63.015e9 * 1e6, rel=1e-4)
    assert nodes > 5 * inside


def test_elements_count_bytes_only_where_the_source_says_so(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    rows = ["aiconfigurator@1,h100,send_recv,fp16,elements=1000000", "vidur@1,h100,send_recv,fp16,elements=1000000"]
    path.write_text("source,gpu,kernel,dtype,extra\n" + "\n".join(rows) + "\n")
    elements, as_bytes = predict_kernels(read_table(path), Chooser()).ideal_us
    assert elements == pytest.approx(2 * as_bytes)


def test_a_quantisation_reads_two_bytes_and_writes_one(tmp_path: Path) -> None:
    scale = _predicted(tmp_path, "h100,vllm,quant_compute_scale,bf16,fp8,,,,,,,8192,,8192")
    both = _predicted(tmp_path, "h100,vllm,quantize,bf16,fp8,,,,,,,8192,,8192")
    assert both.ideal_us[0] == pytest.approx(3 * 8192 * 8192 / H100_BYTES * 1e6)
    assert scale.ideal_us[0] == pytest.approx(both.ideal_us[0] * 2 / 3)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("h100,vllm,softmax,bf16", "unknown kernel 'softmax'"),
        ("h100,vllm,,bf16", "no kernel is named"),
        ("h1000x,vllm,gemm,bf16,,,,,,,,8,8,8", "unknown gpu 'h1000x'; did you mean 'h100'?"),
        (",vllm,gemm,bf16,,,,,,,,8,8,8", "no gpu is named"),
        ("h100,vllm,gemm,bf17,,,,,,,,8,8,8", "unknown dtype 'bf17'; did you mean 'bf16'?"),
        ("h100,vllm,gemm,bf16,,,,,,,,8,,8", "n is missing, gemm needs it"),
        ("h100,vllm,gemm,bf16,,,,,,,,8,many,8", "n 'many' is not a number"),
        ("h100,vllm,gemm,bf16,,,,,,,,8,-3,8", "n -3 must lie between 1 and 1e+12"),
        (
            "h100,vllm,prefill_attention,bf16,,1,64,32,8,8,128",
            "q_len 64 exceeds kv_len 32, which counts the new tokens too",
        ),
        ("h100,vllm,decode_attention,bf16,,1,1,32,8,16,128", "n_kv_heads 16 exceeds n_q_heads 8"),
    ],
)
def test_a_row_without_a_prediction_says_why_and_stops_nothing(tmp_path: Path, row: str, why: str) -> None:
    found = _predicted(tmp_path, row, "h100,vllm,gemm,bf16,,,,,,,,8,8,8")
    assert found.note[0].startswith(why)
    assert np.isnan([found.predicted_us[0], found.low_us[0], found.high_us[0], found.ideal_us[0]]).all()
    assert (found.bound_by[0], found.calibration[0]) == ("", "")
    assert found.predicted_us[1] > 0


def test_class_defaults_keep_the_order_of_the_band_and_the_bound(tmp_path: Path) -> None:
    rows = [f"h100,x,gemm,bf16,,,,,,,,{m},4096,4096" for m in (1, 64, 4096)]
    rows += [f"a100,x,decode_attention,bf16,,4,1,{tokens},32,8,128" for tokens in (16, 65536)]
    found = _predicted(tmp_path, *rows)
    assert np.all(found.ideal_us <= found.low_us)
    assert np.all(found.low_us <= found.predicted_us)
    assert np.all(found.predicted_us <= found.high_us)
    assert set(found.calibration) == {"uncalibrated"}
    assert found.bound_by[3] == "latency"


# ---- the choice of a calibration, over a family whose time is its bytes over bandwidth, times one number


def _seconds(points: Points, parameters: Any, machine: Machine) -> Any:
    return np.asarray(points.kv_len) / machine.bandwidth_bytes_per_s * 1e6 * parameters["slowness"]


FAMILY = Family(
    name="decode/fa3-bf16",
    kernel="decode_attention",
    parameters=(Parameter("slowness", "1", "times slower than memory", 0.1, 100, 2.0),),
    seconds=_seconds,
    ideal_seconds=lambda points, machine: np.asarray(points.kv_len) / machine.bandwidth_bytes_per_s,
    reference="a test",
)


def _fit(device: str, framework: str, slowness: float, **more: Any) -> Fitted:
    name = f"{device}.{framework}"
    return Fitted(name, device, framework, FAMILY, {"slowness": slowness}, (0.1, 0.1, 0.1), **more)


@pytest.fixture
def one_family(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(kernel: Any, points: Points, reach: str) -> Any:
        return np.full(np.shape(points.batch), FAMILY.name if kernel.kernel == "decode_attention" else "")

    monkeypatch.setattr(families, "family_names", names)


ROW = "{},{},decode_attention,bf16,,1,1,4096,8,8,128"
FITS = (_fit("h100-sxm5-80gb", "vllm", 5), _fit("h100-sxm5-80gb", "trtllm", 7), _fit("l40s", "vllm", 9))


@pytest.mark.usefixtures("one_family")
def test_device_and_framework_choose_then_the_device_then_the_architecture(tmp_path: Path) -> None:
    rows = [
        ("h100", "TRTLLM", 7.0, "h100-sxm5-80gb.trtllm", ""),
        ("h100", "sglang", 5.0, "h100-sxm5-80gb.vllm", "borrowed from vllm on the same device"),
        ("h200", "trtllm", 7.0, "h100-sxm5-80gb.trtllm", "borrowed from h100-sxm5-80gb (trtllm), data sheet of h200"),
        ("h800", "fa3", 5.0, "h100-sxm5-80gb.vllm", "borrowed from h100-sxm5-80gb (vllm), data sheet of h800"),
        ("rtx4090", "vllm", 9.0, "l40s.vllm", "borrowed from l40s (vllm), data sheet of rtx-4090"),
        ("mi300x", "vllm", None, "uncalibrated", "no fit of decode/fa3-bf16 for this architecture: class defaults"),
    ]
    found = _predicted(tmp_path, *(ROW.format(gpu, framework) for gpu, framework, *_ in rows), chooser=Chooser(FITS))
    bandwidth = {"h200": 4.8e12, "rtx4090": 1.008e12}
    for row, (gpu, _, slowness, calibration, note) in enumerate(rows):
        assert found.calibration[row] == calibration
        assert found.note[row].startswith(note)
        if slowness is not None:
            seconds = 4096 / bandwidth.get(gpu, H100_BYTES) * 1e6 * slowness
            assert found.predicted_us[row] == pytest.approx(seconds * 1e6, rel=1e-3)


@pytest.mark.usefixtures("one_family")
def test_a_borrowed_band_is_wider(tmp_path: Path) -> None:
    found = _predicted(tmp_path, ROW.format("h100", "vllm"), ROW.format("h800", "fa3"), chooser=Chooser(FITS))
    own, borrowed = found.high_us / found.predicted_us
    assert own == pytest.approx(np.exp(1.2816 * 0.1))
    assert borrowed == pytest.approx(np.exp(1.2816 * np.hypot(0.1, 0.2)))
    assert found.low_us * found.high_us == pytest.approx(found.predicted_us**2)


@pytest.mark.usefixtures("one_family")
def test_only_a_warm_cache_is_faster_than_memory(tmp_path: Path) -> None:
    fast = Chooser((_fit("h100-sxm5-80gb", "vllm", 1e-6),))
    cold, warm = (ROW.format("h100", "vllm") + f",,,,{cache}" for cache in ("cold", "warm"))
    found = _predicted(tmp_path, cold, warm, chooser=fast)
    assert found.predicted_us[0] == found.ideal_us[0]
    assert found.low_us[0] == found.ideal_us[0]
    assert found.predicted_us[1] < found.ideal_us[1]


@pytest.mark.usefixtures("one_family")
def test_out_of_fold_each_shape_has_the_numbers_of_a_fit_without_it(tmp_path: Path) -> None:
    folds = tuple({"slowness": 10.0 + fold} for fold in range(5))
    fits = (_fit("h100-sxm5-80gb", "vllm", 5, folds=folds), _fit("h100-sxm5-80gb", "trtllm", 7))
    rows = [f"h100,vllm,decode_attention,bf16,,{batch},1,4096,8,8,128" for batch in range(1, 40)]
    found = _predicted(tmp_path, *rows, *rows, ROW.format("h100", "trtllm"), chooser=Chooser(fits, out_of_fold=True))
    slowness = found.predicted_us[:-1] / (4096 / H100_BYTES * 1e12)
    assert set(np.round(slowness).astype(int)) == {10, 11, 12, 13, 14}
    assert np.array_equal(slowness[:39], slowness[39:])
    assert set(found.note[:-1]) == {"out of fold"}
    assert found.note[-1] == "in sample: the calibration keeps no folds"


@pytest.mark.parametrize("kv_dtype", ["int4", "fp4", "fp32"])
def test_a_cache_format_that_no_attention_model_knows_is_left_to_the_class_defaults(
    tmp_path: Path, kv_dtype: str
) -> None:
    found = _predicted(
        tmp_path, f"h100,vllm,decode_attention,bf16,{kv_dtype},8,1,8192,32,8,128", chooser=chooser_of(None)
    )
    assert found.calibration == ("uncalibrated",)


def test_shapes_at_the_edges_are_priced_or_refused_without_a_warning(tmp_path: Path) -> None:
    edges = ("1", "3.7", "1e12", "0.5", "-1", "1e13", "nan", "x")
    rows = [f"h100,vllm,gemm,bf16,,,,,,,,{m},{n},{m}" for m in edges for n in edges]
    rows += [f"a100,vllm,decode_attention,bf16,,{b},{q},{b},8,8,128" for b in edges for q in edges]
    rows += [f"h100,nccl,all_reduce,fp16{',' * 12}num_gpus={n};message_bytes={m}" for m in edges for n in edges]
    found = _predicted(tmp_path, *rows, chooser=chooser_of(None))
    priced = np.isfinite(found.predicted_us)
    assert 0 < priced.sum() < len(rows)
    assert all(note for note, done in zip(found.note, priced, strict=True) if not done)
    assert np.all(found.low_us[priced] <= found.predicted_us[priced])
    assert np.all(found.predicted_us[priced] <= found.high_us[priced])
