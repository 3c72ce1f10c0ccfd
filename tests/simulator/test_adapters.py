"""LoRA adapters: parameters, bytes and products by hand."""

from __future__ import annotations

import pytest

from kvwall.simulator.adapters import Adapters, parse_adapters
from kvwall.simulator.answers.step import TermLine, step
from kvwall.simulator.deployment import Deployment
from kvwall.workloads.model_spec import MODELS

#: Of one adapter of rank 1 on Llama-3.1-8B: inputs + outputs of the fused projections, 32 layers.
PER_RANK_ONE = 32 * ((4096 + 6144) + (4096 + 4096) + (4096 + 28672) + (14336 + 4096))


def test_spelling() -> None:
    assert parse_adapters("8:16") == Adapters(8, 16)
    assert parse_adapters(" 1:4096 ") == Adapters(1, 4096)


def test_parameters_are_rank_times_inputs_and_outputs() -> None:
    model = MODELS.load("llama-3.1-8b")
    assert Adapters(1, 16).parameters(model, Deployment()) == 16 * PER_RANK_ONE
    assert Adapters(100, 16).parameters(model, Deployment()) == 16 * PER_RANK_ONE


def test_experts_and_routers_have_none() -> None:
    mixtral = MODELS.load("mixtral-8x7b")
    # QKV and output projection only: 4096 + 6144 and 4096 + 4096, 32 layers.
    assert Adapters(1, 8).parameters(mixtral, Deployment()) == 8 * 32 * ((4096 + 6144) + (4096 + 4096))


def _terms(lora: str, batch: int) -> dict[str, TermLine]:
    point = step("llama-3.1-8b", on="h100", batch=[batch], lora=lora).points[0]
    return {term.name: term for term in point.terms if term.owner == "adapters"}


@pytest.mark.parametrize(("batch", "used"), [(1, 1), (4, 4), (8, 8), (64, 8)])
def test_a_step_reads_each_adapter_in_use_once(batch: int, used: int) -> None:
    terms = _terms("8:16", batch)
    assert terms["read adapters"].amount == 2 * 16 * PER_RANK_ONE * used
    assert terms["multiply"].amount == 2 * 16 * PER_RANK_ONE * batch


def test_adapters_cost_time_and_nothing_without_them() -> None:
    plain, adapted = (step("llama-3.1-8b", on="h100", batch=[8], lora=lora).points[0] for lora in (None, "8:64"))
    assert adapted.step_s.mid > plain.step_s.mid
    assert adapted.weights_read_bytes - plain.weights_read_bytes == pytest.approx(2 * 64 * PER_RANK_ONE * 8)
    assert adapted.kv_read_bytes == plain.kv_read_bytes
