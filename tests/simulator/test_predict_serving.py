"""Predictions of serving tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kvwall.simulator.predicting.serving import Served, predict_serving
from kvwall.simulator.predicting.table import read_table

COLUMNS = "model,gpu,tp,batch,input_len,output_len,weight_dtype,kv_dtype,engine,metric,extra"


def _served(folder: Path, *rows: str) -> Served:
    path = folder / "serving.csv"
    path.write_text("\n".join([COLUMNS, *rows]) + "\n")
    return predict_serving(read_table(path), "none")


def test_tpot_is_between_the_weights_and_a_few_times_them(tmp_path: Path) -> None:
    found = _served(tmp_path, "llama-3.1-8b,h100,1,1,1024,256,bf16,,vllm 0.12,tpot_ms,")
    # 8.03e9 parameters of 2 bytes, of which the embedding (0.53e9) is not read, at 3.35 TB/s: 4.5 ms.
    assert 4.4 < found.low[0] < found.predicted[0] < found.high[0] < 15
    assert found.note[0] == "class defaults, no calibration"


def test_more_concurrency_costs_latency_and_more_ranks_save_it(tmp_path: Path) -> None:
    row = "qwen3-32b,h100_sxm,{},{},2048,256,,,vllm 0.12.0,tpot_ms,"
    few, many, wide = _served(tmp_path, row.format(2, 4), row.format(2, 64), row.format("8.0", "4.0")).predicted
    assert wide < few < many


def test_concurrency_goes_before_a_batch_per_rank(tmp_path: Path) -> None:
    row = "qwen3-32b,h100_sxm,4,{},2048,256,,,vllm,tpot_ms,{}"
    rows = (row.format(2, "concurrency=64"), row.format(64, ""), row.format(2, ""))
    stated, batch, small = _served(tmp_path, *rows).predicted
    assert stated == batch != small


def test_an_engine_that_was_never_calibrated_has_wide_bands(tmp_path: Path) -> None:
    row = "llama-3.1-8b,h100,1,8,1024,256,bf16,,vllm,{},mode=agg"
    found = _served(tmp_path, row.format("ttft_ms"), row.format("tpot_ms"))
    assert found.high / found.predicted == pytest.approx([3.0, 1.2])
    assert found.predicted / found.low == pytest.approx([3.0, 1.2])
    assert "TTFT depends on how requests arrive: within a factor of 3" in found.note[0]


def test_lengths_may_be_drawn_shorter_than_stated(tmp_path: Path) -> None:
    row = "qwen3-32b,h100,2,16,{},{},bf16,,vllm,tpot_ms,{}"
    rows = (row.format(1000, 500, "length_ratio=0.9"), row.format(900, 450, ""), row.format(1000, 500, ""))
    drawn, short, stated = _served(tmp_path, *rows).predicted
    assert drawn == short != stated


def test_tensorrt_llm_keeps_an_fp8_cache_beside_fp8_weights_with_scales_per_tensor(tmp_path: Path) -> None:
    row = "qwen3-32b,h100,2,64,4096,256,{},{},trtllm 1.0.0rc3,tpot_ms,{}"
    rows = (row.format("fp8", "", ""), row.format("fp8", "fp8", ""), row.format("fp8", "bf16", ""),
            row.format("fp8", "", "gemm=fp8_block"), row.format("fp8_block", "bf16", ""))  # fmt: skip
    implied, stated, wide, block, wide_block = _served(tmp_path, *rows).predicted
    assert implied == stated < wide
    assert block == wide_block


def test_requests_that_do_not_fit_wait_and_the_row_says_so(tmp_path: Path) -> None:
    row = "qwen3-32b,h100,1,{},4096,512,bf16,,vllm,ttft_ms,"
    one, many = _served(tmp_path, row.format(1), row.format(128)).predicted
    notes = _served(tmp_path, row.format(1), row.format(128)).note
    assert "KV-bound" not in notes[0]
    assert "of 128 requests fit at once, the others wait" in notes[1]
    assert many > 20 * one


def test_experts_counted_over_all_groups_are_those_of_one(tmp_path: Path) -> None:
    row = "qwen3-235b-a22b,h100,4,16,1024,256,fp8,,vllm,tpot_ms,attn_dp=2;moe_ep={}"
    found = _served(tmp_path, row.format(8), row.format(4))
    assert found.predicted[0] == found.predicted[1] > 0


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("llama-3.1-8b,h100,1,1,8,8,,,vllm,goodput,", "metric 'goodput' is not predicted (tpot_ms and ttft_ms are)"),
        ("llama-3.1-8b,h100,1,,8,8,,,vllm,tpot_ms,", "concurrency is missing"),
        ("llama-3.1-8b,h100,1,2.5,8,8,,,vllm,tpot_ms,", "concurrency '2.5' is not a whole number from 1"),
        ("llama-3.1-8b,h100,1,1,,8,,,vllm,tpot_ms,", "input_len is missing"),
        (",h100,1,1,8,8,,,vllm,tpot_ms,", "no model is named"),
        (
            "llama-3.1-8b,h100,1,1,8,8,,,vllm,tpot_ms,length_ratio=2",
            "length_ratio '2' is not a number above 0 and at most 1",
        ),
        ("llama-3.1-8c,h100,1,1,8,8,,,vllm,tpot_ms,", "unknown model 'llama-3.1-8c'; did you mean 'llama-3.1-8b'?"),
        ("llama-3.1-8b,h1x,1,1,8,8,,,vllm,tpot_ms,", "unknown gpu 'h1x'"),
        ("llama-3.1-8b,h100,1,1,8,8,,,vlm,tpot_ms,", "unknown engine 'vlm'; did you mean 'vllm'?"),
        ("llama-3.1-70b,h100,1,1,8,8,bf16,,vllm,tpot_ms,", "does not fit: weights"),
        (
            "llama-3.1-8b,h100,1,1,8,8,,,vllm,tpot_ms,mode=disagg",
            "mode 'disagg': one pool serves prefill and decode here; separate pools are not modelled",
        ),
    ],
)
def test_a_row_without_a_prediction_says_why(tmp_path: Path, row: str, why: str) -> None:
    found = _served(tmp_path, row, "llama-3.1-8b,h100,1,1,8,8,,,vllm,tpot_ms,")
    assert found.note[0].startswith(why)
    assert np.isnan([found.predicted[0], found.low[0], found.high[0]]).all()
    assert found.predicted[1] > 0
