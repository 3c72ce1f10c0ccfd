"""Every decode kernel of kvwall's own against attention in float64, on fresh random inputs and odd shapes."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from kvwall.validate.correctness import relative_error  # noqa: E402
from kvwall.validate.kernels.case import Case, load_pattern  # noqa: E402
from kvwall.validate.kernels.trial import Source  # noqa: E402
from kvwall.validate.shapes import Shape, attention_case  # noqa: E402

#: 16-bit outputs round by 2^-11 or 2^-8; the rest is the order of sums.
TOLERANCES = {"fp16": 1e-3, "bf16": 6e-3}

#: A 4-bit key widened (code 0 to 15, scale near 0.5) is about 4 in size; fp16 rounds it by some 2^-12 of that before
#: the product. Over sqrt(head_dim) such errors leave each score, and so each large weight, 1e-3 off at any head width.
#: Their sum is near normal, so three times that is allowed.
WIDENED_KEYS = 3e-3
ODD = 157

_CASES = {
    "gqa": attention_case("paged_decode", Shape(8, 2, 64), 2, 1, ODD, dtype="fp16"),
    "bf16": attention_case("paged_decode", Shape(8, 2, 64), 2, 1, ODD),
    "fp8 cache": attention_case("paged_decode", Shape(8, 2, 64), 2, 1, ODD, dtype="fp16", kv_dtype="fp8"),
    "one head": attention_case("paged_decode", Shape(1, 1, 128), 1, 1, ODD, dtype="fp16"),
    "one token": attention_case("paged_decode", Shape(8, 2, 128), 3, 1, 1, dtype="fp16"),
    "head 80": attention_case("paged_decode", Shape(6, 3, 80), 1, 1, ODD, dtype="fp16"),
    "head 192": attention_case("paged_decode", Shape(4, 1, 192), 1, 1, ODD, dtype="fp16"),
    "head 256": attention_case("paged_decode", Shape(3, 3, 256), 1, 1, 99, dtype="fp16"),
    "40 heads on one": attention_case("paged_decode", Shape(40, 1, 64), 1, 1, ODD, dtype="fp16"),
    "one split": attention_case("paged_decode", Shape(8, 2, 64), 2, 1, 300, dtype="fp16", splits=1),
    "three splits": attention_case("paged_decode", Shape(8, 2, 64), 2, 1, 300, dtype="fp16", splits=3, page=32),
    "page of one": attention_case("paged_decode", Shape(4, 2, 64), 1, 1, 65, dtype="fp16", page=1),
    "kivi 2": attention_case("kivi_decode", Shape(8, 2, 64), 2, 1, ODD, dtype="fp16", bits=2, residual=32),
    "kivi 4": attention_case("kivi_decode", Shape(8, 2, 64), 2, 1, ODD, dtype="fp16", bits=4, residual=32),
    "kivi groups of 64": attention_case("kivi_decode", Shape(4, 4, 128), 1, 1, 300, bits=4, group=64, residual=64),
    "kivi all recent": attention_case("kivi_decode", Shape(8, 2, 64), 2, 1, 20, dtype="fp16", bits=2, residual=32),
    "kivi one token": attention_case("kivi_decode", Shape(4, 2, 64), 1, 1, 1, dtype="fp16", bits=2, residual=32),
    "kivi no recent key": attention_case("kivi_decode", Shape(8, 2, 96), 1, 1, 128, dtype="fp16", bits=2, residual=32),
    "kivi head 256": attention_case("kivi_decode", Shape(1, 1, 256), 1, 1, 33, dtype="fp16", bits=4, residual=32),
    "kivi splits": attention_case("kivi_decode", Shape(4, 2, 64), 1, 1, 300, dtype="fp16", bits=2, splits=4),
    "int4": attention_case("token_int4_decode", Shape(8, 2, 64), 2, 1, ODD, dtype="fp16"),
    "int4 one token": attention_case("token_int4_decode", Shape(8, 2, 64), 2, 1, 1, dtype="fp16"),
    "int4 head 96": attention_case("token_int4_decode", Shape(8, 8, 96), 1, 1, ODD),
    "int4 head 256": attention_case("token_int4_decode", Shape(1, 1, 256), 1, 1, 300, dtype="fp16", splits=2),
    "mla": attention_case("mla_decode", Shape(8, 1, 576), 1, 1, ODD, dtype="fp16"),
    "mla 40 heads": attention_case("mla_decode", Shape(40, 1, 576), 1, 1, 70, dtype="fp16"),
    "mla one head, one token": attention_case("mla_decode", Shape(1, 1, 576), 1, 1, 1, dtype="fp16"),
    "mla narrow": attention_case("mla_decode", Shape(8, 1, 160), 2, 1, ODD, rotary=32, splits=3),
    "mla fp8 cache": attention_case("mla_decode", Shape(8, 1, 160), 1, 1, ODD, dtype="fp16", kv_dtype="fp8", rotary=32),
    "lowrank": attention_case(
        "lowrank_decode", Shape(8, 4, 64), 2, 1, ODD, dtype="fp16", rank=64, value_rank=96, shared_by=2
    ),
    "lowrank odd ranks": attention_case(
        "lowrank_decode", Shape(4, 2, 64), 1, 1, 70, dtype="fp16", rank=40, value_rank=17, shared_by=1
    ),
    "lowrank one token": attention_case(
        "lowrank_decode", Shape(4, 4, 128), 1, 1, 1, dtype="fp16", rank=32, value_rank=32, shared_by=4
    ),
    "lowrank head 80": attention_case(
        "lowrank_decode", Shape(2, 2, 80), 1, 1, 130, rank=48, value_rank=48, shared_by=2, splits=2
    ),
    "pages": attention_case("page_selection", Shape(8, 2, 64), 2, 1, ODD, dtype="fp16", page=16, budget=64),
    "pages all": attention_case("page_selection", Shape(8, 2, 64), 1, 1, ODD, dtype="fp16", page=16, budget=4096),
    "pages newest alone": attention_case("page_selection", Shape(8, 2, 64), 1, 1, ODD, dtype="fp16", budget=16),
    "pages of 8, head 96": attention_case("page_selection", Shape(4, 4, 96), 1, 1, 100, page=8, budget=32),
    "pages one token": attention_case("page_selection", Shape(4, 2, 64), 1, 1, 1, dtype="fp16", budget=64),
    "pages in several blocks": attention_case(
        "page_selection", Shape(4, 2, 64), 1, 1, 1100, dtype="fp16", page=16, budget=128, splits=2
    ),
}


def _tolerance(case: Case) -> float:
    four_bits = case.pattern == "token_int4_decode" or (case.pattern == "kivi_decode" and case.option("bits") == 4)
    return TOLERANCES[case.dtype] + (WIDENED_KEYS if four_bits and case.dtype == "fp16" else 0.0)


def _fresh() -> int:
    return int.from_bytes(os.urandom(4), "big")


@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES.keys())
def test_a_decode_kernel_equals_attention_in_float64(case: Case) -> None:
    seed = _fresh()
    trial = load_pattern(case.pattern).prepare(case, Source("cpu", seed))
    trial.output.fill_(float("nan"))
    error = relative_error(trial.run(), trial.reference())
    assert error < _tolerance(case), f"seed {seed}"


@pytest.mark.parametrize(
    ("pattern", "buffer", "options"),
    [
        ("paged_decode", 1, {}),
        ("kivi_decode", 2, {"bits": 2, "residual": 32}),
        ("kivi_decode", 5, {"bits": 2, "residual": 32}),
        ("kivi_decode", 8, {"bits": 2, "residual": 32}),
        ("token_int4_decode", 6, {}),
        ("lowrank_decode", 3, {"rank": 32, "value_rank": 32, "shared_by": 2}),
    ],
)
def test_every_part_of_a_cache_is_read(pattern: str, buffer: int, options: dict[str, int]) -> None:
    """The comparison can fail: an input that changes after the reference was taken changes the result."""
    case = attention_case(pattern, Shape(4, 2, 64), 1, 1, 100, dtype="fp16", **options)
    trial = load_pattern(pattern).prepare(case, Source("cpu", _fresh()))
    expected = trial.reference()
    assert relative_error(trial.run(), expected) < TOLERANCES["fp16"]
    trial.buffers[buffer].mul_(3)
    assert relative_error(trial.run(), expected) > 0.05


def test_contexts_of_unequal_length() -> None:
    from kvwall.validate.kernels.paged_decode import attend_pages, random_cache
    from kvwall.validate.kernels.split_softmax import plan_splits
    from kvwall.validate.kernels.trial import attend

    case = attention_case("paged_decode", Shape(4, 2, 64), 3, 1, 200, dtype="fp16")
    source = Source("cpu", _fresh())
    cache = random_cache(case, source)
    lengths = [1, 77, 200]
    cache.lengths.copy_(torch.tensor(lengths))
    q = source.normal(3, 4, 64, dtype=torch.float16)
    found = attend_pages(q, cache, plan_splits(torch.empty_like(q), 6, 200, 64, 4, 4))
    for sequence, length in enumerate(lengths):
        one = slice(sequence, sequence + 1)
        keys, values = (cache.gathered(stored, length)[one] for stored in (cache.keys, cache.values))
        assert relative_error(found[one], attend(q[one], keys, values, 64**-0.5)) < TOLERANCES["fp16"]


def test_splits_cover_all_tokens_and_fill_the_device() -> None:
    from kvwall.validate.kernels.split_softmax import plan_splits

    out = torch.empty(1, 8, 64)
    splits = plan_splits(out, items=8, tokens=32768, block=64, units=132)
    assert (splits.count, splits.span) == (32, 1024)  # 33 wanted; 16 blocks each need 32
    assert plan_splits(out, items=1024, tokens=32768, block=64, units=132).count == 1
    assert plan_splits(out, items=8, tokens=100, block=64, units=132).count == 1
    short = plan_splits(out, items=1, tokens=1000, block=64, units=132)
    assert short.span % 64 == 0
    assert (short.count - 1) * short.span < 1000 <= short.count * short.span


def test_traffic_of_a_cache_is_what_is_stored() -> None:
    """100 tokens, residual 32: 96 keys and 68 values packed in 2 bits, group 32, the rest in 16 bits; 2 heads of 64."""
    case = attention_case("kivi_decode", Shape(4, 2, 64), 1, 1, 100, dtype="fp16", bits=2, residual=32)
    trial = load_pattern("kivi_decode").prepare(case, Source("cpu", 0))
    packed = 2 * (96 + 68) * 64 * (2 / 8 + 4 / 32)
    recent = 2 * (4 + 32) * 64 * 2
    query_and_result = 2 * 4 * 64 * 2
    assert trial.moved_bytes == packed + recent + query_and_result
    assert trial.flops == 4 * 4 * 100 * 64
