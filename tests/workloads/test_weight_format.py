"""Weight formats: bits by hand, sizes that engines and files really have, and what a wrong file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvwall.hardware.device import DEVICES
from kvwall.hardware.document import read_document
from kvwall.hardware.errors import ForbiddenError, InputError, UnknownNameError
from kvwall.workloads.weight_format import WEIGHTS, WeightFormat

GIB = 2**30

#: Format, stored bits per compressed weight, and the arithmetic that gives them.
BITS = {
    "bf16": 16.0,
    "fp16": 16.0,
    "fp32": 32.0,
    "tf32": 32.0,  # fp32 tensors
    "fp8": 8.0,
    "fp8-block": 8 + 32 / 128**2,  # fp32 scale of a 128 x 128 block
    "int8": 8.0,
    "int8-weight-only": 8 + (16 + 8) / 128,
    "int4-g128": 4 + (16 + 4) / 128,
    "int4-g64": 4 + (16 + 4) / 64,
    "int4-g32": 4 + (16 + 4) / 32,
    "int3-g128": 3 + (16 + 3) / 128,
    "q4f16-1": 4 + 16 / 32,
    "nf4": 4 + 8 / 64 + 32 / (64 * 256),
    "nvfp4": 4 + 8 / 16,
    "mxfp4": 4 + 8 / 32,
    "q4_0": 18 * 8 / 32,  # bytes of a block in ggml-common.h, over its weights
    "q8_0": 34 * 8 / 32,
    "q4_k": 144 * 8 / 256,
    "q6_k": 210 * 8 / 256,
    "q4_k_m": 4.5 + (6.5625 - 4.5) / 3 / 2,
    "q5_k_m": 5.5 + (6.5625 - 5.5) / 3 / 2,
    "fp6": 6.0,
    "int2-g128": 2 + (16 + 2) / 128,
    "int2-g64": 2 + (16 + 2) / 64,
    "omniquant-w4a4": 4.0,
    "atom-w4a4": 4 + 4 * 128 / 4096 + 16 / (128 * 2),  # 128 channels at 8 bits; a scale for the groups of two channels
    "q-palette-2": 2 + 16 * (1 / 4096 + 1 / 4096),  # a sign for each row and each column
    "q-palette-3": 3 + 16 * (1 / 4096 + 1 / 4096),
    "q-palette-3.25": (3 + 3.5) / 2 + 16 * (1 / 4096 + 1 / 4096),
    "q-palette-4": 4 + 16 * (1 / 4096 + 1 / 4096),
    "t-mac-w2": 2 + 16 / 128,
    "t-mac-w4": 4 + 16 / 128,
    "bitmod-3": 3 + 8 / 128,
    "bitmod-4": 4 + 8 / 128,
    "bitmod-6": 6 + 8 / 128,
    "flash-llm-50": 32 * 0.5,  # an fp16 value and a 16-bit position for each non-zero
    "flash-llm-70": 32 * 0.3,
    "flash-llm-80": 32 * 0.2,
    "flash-llm-90": 32 * 0.1,
    "edkm-3": 3.0,
    "jlcm": 2.37,  # 2 GB for 6.74e9 weights
    "ternary": 2.0,
    "ternary-base3": 8 / 5,
}


def test_every_format_has_its_bits_derived_here():
    assert {name: form.bits_per_weight for name, form in WEIGHTS.all().items()} == pytest.approx(BITS, rel=1e-12)


def test_every_format_says_where_it_is_from():
    assert [name for name, form in WEIGHTS.all().items() if not form.source or form.name != name] == []


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        *((alias, "int4-g128") for alias in ("awq", "gptq", "int4", "w4a16", "awq4", "gptq4", "INT4_G128")),
        ("FP8_BLOCK", "fp8-block"),
        ("bfloat16", "bf16"),
        ("Q4_K_M", "q4_k_m"),
        ("smoothquant", "int8"),
        ("mote", "ternary"),
        ("qlora", "nf4"),
        ("omniquant-w2a16", "int2-g128"),
        ("omniquant-w3a16", "int3-g128"),
        ("omniquant-w4a16", "int4-g128"),
    ],
)
def test_aliases_match_whatever_their_case_and_punctuation(alias, name):
    assert WEIGHTS.resolve(alias) == name


def test_no_two_formats_share_an_alias():
    aliases = [alias for form in WEIGHTS.all().values() for alias in form.aliases]
    assert len(aliases) == len(set(aliases))
    assert [alias for alias in aliases if alias in WEIGHTS.names] == []


def _bytes(form: WeightFormat, **parameters: float) -> float:
    return sum(count * form.bits(tensor) / 8 for tensor, count in parameters.items())


# Parameter counts by hand from the published shapes: layers, hidden, heads, intermediate, vocabulary.
LLAMA_31_8B = {
    "attention": 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024),
    "feed_forward": 32 * 3 * 4096 * 14336,
    "embedding": 128256 * 4096,
    "lm_head": 128256 * 4096,
    "norms": 65 * 4096,
}


@pytest.mark.parametrize(
    ("name", "published"), [("q4_k_m", 4.8944), ("q5_k_m", 5.7036), ("q6_k", 6.5633), ("q8_0", 8.5008)]
)
def test_gguf_mixtures_match_the_bits_that_llama_cpp_prints(name, published):
    """llama.cpp, tools/quantize/README.md: bits per weight of whole Llama-3.1-8B files."""
    bits = 8 * _bytes(WEIGHTS.load(name), **LLAMA_31_8B) / sum(LLAMA_31_8B.values())
    assert bits == pytest.approx(published, rel=1e-3)


def test_gptq_checkpoint_matches_the_size_that_vllm_loads():
    """Qwen2.5-72B-Instruct-GPTQ-Int4: 38.526 GiB (vllm-project/vllm#11230)."""
    hidden, vocabulary = 8192, 152064
    size = _bytes(
        WEIGHTS.load("gptq"),
        attention=80 * (2 * hidden * hidden + 2 * hidden * 1024),
        feed_forward=80 * 3 * hidden * 29568,
        embedding=vocabulary * hidden,
        lm_head=vocabulary * hidden,
    )
    assert size / GIB == pytest.approx(38.526, rel=5e-3)


def test_mlc_checkpoint_matches_the_size_that_it_loads():
    """Llama-2-7b-chat q4f16_1: 3.5304 GiB (mlc-ai/mlc-llm#2026), embedding and LM head compressed too."""
    size = _bytes(
        WEIGHTS.load("q4f16_1"),
        attention=32 * 4 * 4096 * 4096,
        feed_forward=32 * 3 * 4096 * 11008,
        embedding=32000 * 4096,
        lm_head=32000 * 4096,
        norms=65 * 4096,
    )
    assert size / GIB == pytest.approx(3.5304, rel=1e-3)


@pytest.mark.parametrize(
    ("layers", "experts", "total", "published_gib"), [(36, 128, 116.83e9, 60.8), (24, 32, 20.91e9, 12.8)]
)
def test_gpt_oss_checkpoints_match_their_model_card(layers, experts, total, published_gib):
    """gpt-oss model card, arXiv 2508.10925, table 1: checkpoint sizes; everything but experts is bf16."""
    expert_weights = layers * experts * 3 * 2880 * 2880
    form = WEIGHTS.load("mxfp4")
    size = _bytes(form, experts=expert_weights, attention=total - expert_weights)
    assert size / GIB == pytest.approx(published_gib, rel=5e-3)


#: Llama-2-7B (and its predecessor): 32 layers of 4 attention matrices and 3 of 11,008 channels; two tables of 32,000.
LLAMA_2_7B = {
    "attention": 32 * 4 * 4096 * 4096,
    "feed_forward": 32 * 3 * 4096 * 11008,
    "embedding": 32000 * 4096,
    "lm_head": 32000 * 4096,
    "norms": 65 * 4096,
}


@pytest.mark.parametrize(("name", "published_gb"), [("fp16", 12.6), ("edkm-3", 2.5)])
def test_clustered_weights_match_their_published_size(name, published_gb):
    """eDKM, abstract: LLaMA-7B from 12.6 GB (GiB: 6.74e9 x 2 bytes) to 2.5 GB at 3 bits per weight."""
    size = _bytes(WEIGHTS.load(name), **LLAMA_2_7B)
    unit = GIB if name == "fp16" else 1e9
    assert size / unit == pytest.approx(published_gb, rel=0.02)


def test_half_of_the_weights_must_be_zero_to_break_even():
    """32 (1 - s) bits: 16 at 50 % zeros, 0.4 of 16 at 80 %, 0.2 at 90 %."""
    assert WEIGHTS.load("flash-llm-50").bits("attention") == 16
    assert WEIGHTS.load("flash-llm-80").bits("attention") / 16 == pytest.approx(0.4)
    assert WEIGHTS.load("flash-llm-90").bits("attention") / 16 == pytest.approx(0.2)


def test_look_ups_are_linear_in_the_bits():
    assert WEIGHTS.load("t-mac-w4").lookup_ops == 2 * WEIGHTS.load("t-mac-w2").lookup_ops == 4 / 4 * 1.75


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("t-mac-w2", "h100", "weights 't-mac-w2' need a processor: NVIDIA H100 SXM5 80GB is none"),
        (
            "bitmod-4",
            "xeon",
            "weights 'bitmod-4' need a bit-serial accelerator: 2 x Intel Xeon Platinum 8480+ (56c) is none",
        ),
    ],
)
def test_a_format_without_kernels_for_a_device_is_refused(name, device, message):
    with pytest.raises(ForbiddenError) as caught:
        WEIGHTS.load(name).check(DEVICES.load(device))
    assert str(caught.value) == message


def test_formats_run_where_they_have_kernels():
    WEIGHTS.load("t-mac-w2").check(DEVICES.load("xeon"))
    WEIGHTS.load("nf4").check(DEVICES.load("h100"))
    custom = DEVICES.load("h100").model_copy(update={"form": "bit-serial accelerator"})
    WEIGHTS.load("bitmod-4").check(custom)


def test_what_stays_wide():
    assert WEIGHTS.load("fp8").bits("lm_head") == 16
    assert WEIGHTS.load("mxfp4").bits("attention") == 16
    assert WEIGHTS.load("ternary").bits("feed_forward") == 16
    assert WEIGHTS.load("ternary").bits("experts") == 2
    assert WEIGHTS.load("fp32").bits("norms") == 32
    assert WEIGHTS.load("q4_k_m").bits("lm_head") == 6.5625


def test_weight_only_formats_compute_in_sixteen_bits_and_unpack_on_every_device():
    form = WEIGHTS.load("int4")
    assert form.product_dtype(has_unit=True) == "bf16"
    assert form.unpack_ops(has_unit=True) == form.unpack_ops(has_unit=False) == 3.25


def test_native_formats_unpack_only_where_the_unit_is_missing():
    form = WEIGHTS.load("nvfp4")
    assert (form.product_dtype(has_unit=True), form.unpack_ops(has_unit=True)) == ("fp4", 0)
    assert (form.product_dtype(has_unit=False), form.unpack_ops(has_unit=False)) == ("bf16", 4)


def test_loaded_bytes_have_a_band_only_where_logs_show_one():
    assert (WEIGHTS.load("bf16").loaded_over_arithmetic, WEIGHTS.load("bf16").loaded_high) == (1.0, 1.0)
    assert (WEIGHTS.load("mxfp4").loaded_over_arithmetic, WEIGHTS.load("mxfp4").loaded_high) == (1.05, 1.14)


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        WEIGHTS.load("int4-g12")
    assert str(caught.value) == "unknown weight format 'int4-g12'; did you mean 'int4-g128'?"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bits_per_weight: 3", "payload_bits 4 exceeds bits_per_weight 3"),
        (
            "bits_per_weight: 5\noverrides: {norms: 8}",
            "'norms' stands both in sixteen_bit and in overrides",
        ),
        (
            "bits_per_weight: 5\noverrides: {experts: 0}",
            "overrides.experts is 0, allowed is above 0 to 64 bits",
        ),
        (
            "bits_per_weight: 5\nloaded_over_arithmetic: 1.2\nloaded_over_arithmetic_high: 1.1",
            "loaded_over_arithmetic_high is below loaded_over_arithmetic",
        ),
    ],
)
def test_a_contradiction_is_one_line(tmp_path: Path, line: str, message: str):
    path = tmp_path / "odd.yaml"
    path.write_text(f"name: odd\nsource: here\npayload_bits: 4\ncompute_dtype: bf16\n{line}\n")
    with pytest.raises(InputError) as caught:
        read_document(path, WeightFormat)
    assert str(caught.value) == f"{path}: {message}"
