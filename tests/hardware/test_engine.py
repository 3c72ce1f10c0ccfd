"""Engine profiles: defaults, version selection, what a memory fraction means, and every error whole."""

from pathlib import Path

import pytest

from kvwall.hardware.engine import ENGINES, Engine
from kvwall.hardware.engine_version import engine_families, find_engine, versions
from kvwall.hardware.errors import InputError, UnknownNameError

MIB, GIB = 2**20, 2**30
H100_BYTES = 81559 * MIB


@pytest.mark.parametrize(
    ("name", "meaning", "fraction", "block"),
    [
        ("vllm-0.6", "total memory", 0.90, 16),
        ("vllm-0.21", "total memory", 0.92, 16),
        ("trtllm-0.8", "free after load", 0.90, 64),
        ("trtllm-1.0", "free after load", 0.90, 32),
        ("llamacpp", "none", 1.0, 256),
        ("hf", "none", 1.0, 1),
        ("none", "none", 1.0, 1),
    ],
)
def test_defaults(name: str, meaning: str, fraction: float, block: int) -> None:
    engine = ENGINES.load(name)
    assert (engine.utilization_of, engine.default_utilization(H100_BYTES), engine.block_tokens) == (
        meaning,
        fraction,
        block,
    )


def test_sglang_derives_its_fraction() -> None:
    # One H100: 512 + 1.5 x 8192 + 128 x 1 + 2 x 256 = 13,440 MiB of 81,559 are left out of the fraction.
    assert find_engine("sglang").default_utilization(H100_BYTES) == pytest.approx(1 - 13440 / 81559)
    # Four of them: the graphs go to a batch of 512: 512 + 12,288 + 128 x 4 + 1,024 = 14,336 MiB.
    assert find_engine("sglang").default_utilization(H100_BYTES, tp=4) == pytest.approx(1 - 14336 / 81559)
    # A 24 GiB card: 512 + 1.5 x 4096 + 128 + 2 x 48 = 6,880 MiB.
    assert find_engine("sglang").default_utilization(24 * GIB) == pytest.approx(1 - 6880 / (24 * 1024))


def test_a_large_device_reserves_at_least_ten_gib() -> None:
    engine = find_engine("sglang")
    tiers = (engine.scheduler.tiers[-1].model_copy(update={"max_batched_tokens": 2048}),)
    small_chunk = engine.model_copy(update={"scheduler": engine.scheduler.model_copy(update={"tiers": tiers})})
    assert small_chunk.default_utilization(H100_BYTES) == pytest.approx(1 - 10240 / 81559)


@pytest.mark.parametrize(
    ("name", "version", "profile"),
    [
        ("vllm", None, "vllm-0.21"),
        ("VLLM", "latest", "vllm-0.21"),
        ("vllm", "0.6.4.post1", "vllm-0.6"),
        ("vllm", "v0.2", "vllm-0.6"),
        ("vllm", "0.7.x", "vllm-0.6"),
        ("vllm", "0.9.2", "vllm-0.9"),
        ("vllm", "0.10", "vllm-0.10"),
        ("vllm", "0.20.0", "vllm-0.10"),
        ("vllm", "0.28.1rc1", "vllm-0.21"),
        ("vllm", "2025-08", "vllm-0.10"),
        ("vllm", "2026-10-01", "vllm-0.21"),
        ("vllm", "2025", "vllm-0.10"),
        ("vllm", "2023-01", "vllm-0.6"),
        ("vllm-0.9", None, "vllm-0.9"),
        ("vllm-0.9", "0.9.1", "vllm-0.9"),
        ("vllm_v1", "0.6", "vllm-0.6"),
        ("TensorRT-LLM", None, "trtllm-1.0"),
        ("trt-llm", "0.17", "trtllm-0.8"),
        ("sgl", "0.5.8", "sglang-0.5"),
        ("llama.cpp", "b4000", "llamacpp"),
        ("transformers", None, "hf"),
        ("none", None, "none"),
    ],
)
def test_version_selection(name: str, version: str | None, profile: str) -> None:
    assert find_engine(name, version) is ENGINES.load(profile)


def test_profiles_of_an_engine_cover_every_version_once() -> None:
    for names in engine_families().values():
        profiles = [ENGINES.load(name) for name in names]
        assert [older.before_version for older in profiles] == [newer.from_version for newer in profiles[1:]] + [None]
        months = [profile.since or "" for profile in profiles]
        assert months == sorted(months)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vllm-0.6", "versions before 0.8"),
        ("vllm-0.9", "0.8 and later, before 0.10"),
        ("vllm-0.21", "0.21 and later"),
        ("hf", "every version"),
    ],
)
def test_versions_in_words(name: str, words: str) -> None:
    assert versions(ENGINES.load(name)) == words


def test_unknown_engine() -> None:
    with pytest.raises(UnknownNameError) as error:
        find_engine("vlm")
    assert str(error.value) == "unknown engine 'vlm'; did you mean 'vllm'?"


def test_not_a_version() -> None:
    with pytest.raises(InputError) as error:
        find_engine("vllm", "newish")
    expected = "--engine-version 'newish': not a version of vllm; write for example '0.9.2' or '2025-08'"
    assert str(error.value) == expected


def test_profile_that_does_not_cover_the_version() -> None:
    with pytest.raises(InputError) as error:
        find_engine("vllm-0.6", "0.21")
    assert str(error.value) == "--engine-version '0.21': the profile 'vllm-0.6' covers versions before 0.8"


def _changed(tmp_path: Path, name: str, old: str, new: str) -> str:
    shipped = Path(str(ENGINES._folder)) / f"{name}.yaml"
    text = shipped.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "engine.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return str(path)


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = _changed(tmp_path, "vllm-0.21", "block_tokens: 16", "block_tokens: 64")
    assert find_engine(path).block_tokens == 64


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "none",
            "utilization: 1.0\n",
            "",
            "needs exactly one of utilization and derived_utilization",
        ),
        (
            "vllm-0.21",
            "{low: 31, mid: 39",
            "{low: 50, mid: 39",
            "reserve.logit_bytes: needs low <= mid <= high, found 50, 39, 45",
        ),
        (
            "vllm-0.21",
            "{memory_from: 0 GiB,",
            "{memory_from: 90 GiB,",
            "scheduler: tiers go from the largest memory_from down to 0",
        ),
        (
            "vllm-0.21",
            "{memory_from: 0 GiB,",
            "{memory_from: 0 GiB, except_devices: [t4],",
            "scheduler: the last tier takes every device: it has no except_devices",
        ),
        (
            "sglang-0.5",
            ", graph_slots: 8,",
            ",",
            "derived_utilization needs graph_slots in every tier",
        ),
        ("vllm-0.21", "0.92", "92", "utilization: expected at most 1 (found 92)"),
        (
            "vllm-0.21",
            "mid: 0.2 GiB",
            "mid: 0.2 s",
            "reserve.context.mid: '0.2 s' has the unit 's', expected 'B' as in '0.2 GiB'",
        ),
    ],
)
def test_what_a_profile_refuses(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    path = _changed(tmp_path, name, old, new)
    with pytest.raises(InputError) as error:
        find_engine(path)
    assert str(error.value) == f"{path}: {message}"


def test_large_devices_take_larger_batches_except_the_a100() -> None:
    engine = find_engine("vllm")
    assert (engine.tier(H100_BYTES, "NVIDIA H100 SXM5 80GB").max_num_seqs) == 1024
    assert (engine.tier(80 * GIB, "NVIDIA A100 SXM4 80GB").max_num_seqs) == 256
    assert (engine.tier(24 * GIB, "NVIDIA GeForce RTX 3090").max_num_seqs) == 256


def test_a_prompt_was_one_pass_up_to_32k_in_old_versions() -> None:
    old, new = find_engine("vllm", "0.6"), find_engine("vllm")
    assert [old.batched_tokens(length, 24 * GIB) for length in (1024, 20_000, 32_768, 45_000)] == [
        2048,
        20_000,
        32_768,
        2048,
    ]
    assert new.batched_tokens(45_000, 24 * GIB) == 2048
    assert find_engine("hf").batched_tokens(45_000, 24 * GIB) == 45_000


@pytest.mark.parametrize(
    ("name", "expected_gib"),
    [
        ("vllm", 0.5 * 80 - 16 - 1 - 2),  # everything comes out of the fraction of the total
        ("sglang", 0.5 * (80 - 1) - 16),  # activations live beyond the fraction
        ("trtllm", 0.5 * (80 - 16 - 1 - 2)),  # the fraction is of what is left
        ("llamacpp", 80 - 16 - 1 - 2),  # no fraction
    ],
)
def test_what_the_fraction_is_a_fraction_of(name: str, expected_gib: float) -> None:
    pool = find_engine(name).kv_pool_bytes(80 * GIB, 0.5, 16 * GIB, 1 * GIB, 2 * GIB)
    assert pool == pytest.approx(expected_gib * GIB)


def test_trtllm_takes_its_fraction_of_the_free_memory() -> None:
    # 21.89 GiB free, fraction 0.9, blocks of 64 tokens x 512 KiB: 630.4 blocks; the engine printed 631.
    pool = ENGINES.load("trtllm-0.8").kv_pool_bytes(21.89 * GIB, 0.9, 0, 0, 0)
    assert pool / (64 * 512 * 1024) == pytest.approx(630.4, abs=0.05)


def test_every_profile_explains_itself() -> None:
    for engine in ENGINES.all().values():
        assert isinstance(engine, Engine)
        assert engine.host.per_step_s.mid < 0.1
        assert all(band.source for band in (engine.reserve.context_bytes, engine.reserve.logit_bytes))
