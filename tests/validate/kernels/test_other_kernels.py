"""Kernels that are not decode, and all that torch ships, against float64."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")

from kvwall.validate.correctness import relative_error  # noqa: E402
from kvwall.validate.kernels.case import Case, load_pattern  # noqa: E402
from kvwall.validate.kernels.trial import Source, Trial, unpack  # noqa: E402
from kvwall.validate.shapes import Shape, attention_case, pairs  # noqa: E402

_HEADS = Shape(8, 2, 64)

_CASES = {
    "copy": (Case("memory_copy", "memory_copy", message_bytes=1001), 0.0),
    "product bf16": (Case("gemm", "gemm", m=33, n=48, k=64), 6e-3),
    "product fp16": (Case("gemm", "gemm", dtype="fp16", m=1, n=7, k=130), 1e-3),
    "product fp32": (Case("gemm", "gemm", dtype="fp32", m=65, n=3, k=99), 1e-5),
    "product int8": (Case("gemm", "gemm", dtype="int8", m=33, n=48, k=64), 0.0),
    "decode": (attention_case("dense_attention", _HEADS, 2, 1, 157, dtype="fp16"), 1e-3),
    "prefill": (attention_case("dense_attention", _HEADS, 2, 67, 67, dtype="fp16"), 1e-3),
    "prefill of one": (attention_case("dense_attention", _HEADS, 1, 1, 1), 1e-6),
    "prefix": (attention_case("dense_attention", _HEADS, 2, 5, 157), 6e-3),
    "prefix one head": (attention_case("dense_attention", Shape(1, 1, 256), 1, 3, 50, dtype="fp16"), 1e-3),
    "latent": (attention_case("latent_attention", Shape(8, 1, 576), 2, 1, 157, dtype="fp32"), 1e-5),
    "rematerialize": (attention_case("rematerialization", _HEADS, 2, 1, 157, dtype="fp32", width=256), 1e-5),
    "rematerialize 8 bits": (
        attention_case("rematerialization", _HEADS, 1, 1, 33, dtype="fp32", width=256, bits=8),
        1e-5,
    ),
    "evict": (attention_case("window_scores", _HEADS, 2, 16, 157, dtype="fp32", budget=64, window_queries=16), 0.0),
    "evict all but the window": (
        attention_case("window_scores", _HEADS, 1, 16, 40, dtype="fp32", budget=17, window_queries=16, smooth=3),
        0.0,
    ),
    "evict nothing": (
        attention_case("window_scores", _HEADS, 1, 16, 40, dtype="fp32", budget=999, window_queries=16),
        0.0,
    ),
    "host copy": (Case("host_copy", "host_copy", message_bytes=1000), 0.0),
    "host copy back": (
        Case("host_copy", "host_copy", message_bytes=3_000_001, options=pairs(direction="d2h", memory="pageable")),
        0.0,
    ),
    "host gather": (Case("host_gather", "host_gather", m=13, k=96), 0.0),
    "launch": (Case("launch", "launch"), 1e-6),
}


def _prepared(case: Case) -> Trial:
    made: Trial = load_pattern(case.pattern).prepare(case, Source("cpu", int.from_bytes(os.urandom(4), "big")))
    return made


@pytest.mark.parametrize(("case", "tolerance"), _CASES.values(), ids=_CASES.keys())
def test_a_kernel_equals_its_reference_in_float64(case: Case, tolerance: float) -> None:
    trial = _prepared(case)
    if trial.output is not None and trial.output.is_floating_point():
        trial.output.fill_(float("nan"))
    assert relative_error(trial.run(), trial.reference()) <= tolerance


def test_rows_are_gathered_from_host_memory() -> None:
    pytest.importorskip("triton")
    trial = _prepared(Case("host_rows", "host_gather", dtype="fp16", m=13, k=96))
    trial.output.fill_(float("nan"))
    assert torch.equal(trial.run().double(), trial.reference())


@pytest.mark.parametrize(
    ("bits", "head_dim", "tokens", "heads"),
    [(4, 128, 5, 4), (2, 128, 3, 2), (8, 64, 7, 3), (4, 96, 1, 1), (2, 80, 3, 2)],
)
def test_new_tokens_are_quantised_into_their_slots_alone(bits: int, head_dim: int, tokens: int, heads: int) -> None:
    pytest.importorskip("triton")
    options = pairs(bits=bits, head_dim=head_dim)
    trial = _prepared(Case("quantize_append", "quantize", dtype="fp16", m=tokens, k=heads * head_dim, options=options))
    rows, slots, codes, scales, lows = trial.buffers
    for buffer in (codes, scales, lows):
        buffer.fill_(77)
    trial.run()
    others = torch.ones(len(codes), dtype=torch.bool)
    others[slots] = False
    assert all(bool((buffer[others] == 77).all()) for buffer in (codes, scales, lows))
    step = scales[slots].double().unsqueeze(-1)
    wide = unpack(codes[slots], bits).double() * step + lows[slots].double().unsqueeze(-1)
    # Half a step of rounding, and what the 16-bit scale and minimum round away at the ends.
    assert float(((wide - rows.double()).abs() / step).max()) < 0.5 + 2**bits * 2**-10
    assert torch.allclose(lows[slots].double(), rows.double().amin(-1), atol=2e-3)


def test_a_row_of_equal_numbers_is_quantised_to_itself() -> None:
    pytest.importorskip("triton")
    case = Case("quantize_append", "quantize", dtype="fp16", m=2, k=64, options=pairs(bits=4, head_dim=64))
    trial = _prepared(case)
    rows, slots, codes, scales, lows = trial.buffers
    rows.fill_(1.5)
    trial.run()
    assert bool((codes[slots] == 0).all())
    assert (scales[slots].unique().item(), lows[slots].unique().item()) == (0.0, 1.5)


def test_eviction_keeps_the_tokens_that_the_window_attends_to() -> None:
    from kvwall.validate.kernels.window_scores import window_scores

    q, keys = torch.zeros(1, 2, 4, 8), torch.zeros(1, 1, 20, 8)
    q[..., 0] = 10.0
    keys[0, 0, 7, 0] = 10.0
    scores = window_scores(q, keys, kernel=3)
    assert scores.shape == (1, 1, 16)
    assert sorted(torch.topk(scores[0, 0], 3).indices.tolist()) == [6, 7, 8]


def test_rotation_keeps_length_and_depends_on_distance_alone() -> None:
    from kvwall.validate.kernels.rotary import rotate

    keys = torch.randn(1, 64, dtype=torch.float64).expand(6, 64)
    turned = rotate(keys, 10000.0)
    assert torch.allclose(turned.norm(dim=-1), keys.norm(dim=-1))
    assert torch.allclose(turned[0], keys[0])
    assert torch.allclose(turned[1] @ turned[3], turned[2] @ turned[4])


def test_all_reduce_between_two_processes() -> None:
    from kvwall.validate.kernels.all_reduce import time_case

    timing = time_case(Case("all_reduce", "all_reduce", "gloo", num_gpus=2, message_bytes=1024), "cpu")
    assert timing.median_s > 0
    assert timing.samples > 5
