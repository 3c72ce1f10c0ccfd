"""``--set``: one figure of a description changes, and everything that follows from it."""

from __future__ import annotations

import pytest

from kvwall.hardware.device import DEVICES
from kvwall.hardware.engine_version import find_engine
from kvwall.hardware.errors import InputError
from kvwall.hardware.system import NODES
from kvwall.simulator.answers.fit import fit
from kvwall.simulator.answers.step import step
from kvwall.simulator.overrides import overridden, parse_overrides
from kvwall.workloads.model_spec import MODELS


def test_paths_are_gathered_by_target() -> None:
    texts = ["device.hbm.bandwidth = 4 TB/s", "device.hbm.capacity=96 GiB", "model.layers=2"]
    assert parse_overrides(texts) == {
        "device": {"hbm.bandwidth": "4 TB/s", "hbm.capacity": "96 GiB"},
        "model": {"layers": "2"},
    }
    assert parse_overrides([]) == {}


@pytest.mark.parametrize(
    "path", ["hbm.bandwidth", "hbm.bandwidth_bytes_per_s", "hbm_bandwidth"],
)  # fmt: skip
def test_a_key_may_be_written_with_its_unit_or_as_one_word(path: str) -> None:
    h100 = DEVICES.load("h100")
    changed = overridden(h100, {path: "4 TB/s"}, "device")
    assert changed.hbm.bandwidth_bytes_per_s == 4e12
    assert changed.hbm.capacity_bytes == h100.hbm.capacity_bytes
    assert h100.hbm.bandwidth_bytes_per_s == 3.35e12


def test_nothing_to_change_is_the_same_document() -> None:
    h100 = DEVICES.load("h100")
    assert overridden(h100, {}, "device") is h100


def test_host_memory_of_the_node() -> None:
    node = NODES.load("dgx-h100")
    assert overridden(node, {"host_memory": "512 GiB"}, "system").host.memory_bytes == 512 * 2**30


def test_elements_of_lists_have_positions() -> None:
    model = overridden(MODELS.load("llama-3.1-8b"), {"attention.0.kv_heads": "4"}, "model")
    assert fit("llama-3.1-8b", on="h100", set=("model.attention.0.kv_heads=4",)).kv_bytes_per_token_per_gpu == 65536
    assert model.attention[0].kv_heads == 4  # type: ignore[union-attr]


def test_what_follows_is_checked_again() -> None:
    with pytest.raises(InputError) as caught:
        overridden(MODELS.load("llama-3.1-8b"), {"layers": "40"}, "model")
    assert str(caught.value).startswith("--set model: ")
    assert "40" in str(caught.value)


def test_a_faster_memory_reads_the_same_bytes_in_less_time() -> None:
    words = {"on": "h100", "batch": [1], "context": [131072]}
    plain = step("llama-3.1-8b", **words).points[0]  # type: ignore[arg-type]
    double = step("llama-3.1-8b", set=("device.hbm.bandwidth=6.7 TB/s",), **words).points[0]  # type: ignore[arg-type]
    assert double.kv_read_bytes == plain.kv_read_bytes
    assert double.ideal_step_s == pytest.approx(plain.ideal_step_s / 2, rel=1e-6)


def test_the_engine_changes_what_fits() -> None:
    block = fit("llama-3.1-8b", on="h100", set=("engine.block_tokens=64",)).block_tokens
    assert block == 64
    assert find_engine("vllm").block_tokens == 16
