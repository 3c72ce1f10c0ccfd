"""Serving engines: how each spends memory and host time, as data, one profile per change of its accounting.

A profile covers a range of versions. What differs between engines is what a memory fraction is a fraction *of*, what
a start-up pass is sized for, and which workspaces are taken out before the cache gets the rest.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from kvwall.hardware.band import BytesBand, BytesOrZero, FactorBand
from kvwall.hardware.document import Document, Sourced
from kvwall.hardware.errors import canonical
from kvwall.hardware.library import Library
from kvwall.hardware.serving_constants import HostTime, ServingConstants

Numbers = float | NDArray[np.float64]

#: What the memory fraction of an engine is a fraction of.
UtilizationOf = Literal["total memory", "static fraction", "free after load", "none"]

Positive = Annotated[int, Field(ge=1, le=100_000_000)]
_MIB = 2.0**20


class Tier(Document):
    """What the scheduler allows by default on devices with at least ``memory_from`` of memory."""

    memory_from_bytes: BytesOrZero = Field(alias="memory_from")
    except_devices: tuple[str, ...] = Field((), description="parts of device names this tier leaves out")
    max_batched_tokens: Positive
    max_num_seqs: Positive
    graph_slots: Positive | None = Field(None, description="largest decode batch captured as a graph")
    graph_slots_tp4: Positive | None = Field(None, description="the same from tensor parallel size 4")


class Scheduler(Sourced):
    """Limits of one engine pass, and whether a prompt is cut into chunks."""

    tiers: tuple[Tier, ...] = Field(min_length=1, description="largest memory first")
    chunked_prefill: bool
    whole_prompt_up_to_tokens: Positive | None = Field(
        None, description="up to this maximum length a prompt is one pass even so, and the start-up pass is as long"
    )

    @model_validator(mode="after")
    def _check(self) -> Scheduler:
        floors = [tier.memory_from_bytes for tier in self.tiers]
        if floors != sorted(floors, reverse=True) or floors[-1] != 0:
            raise ValueError("tiers go from the largest memory_from down to 0")
        if self.tiers[-1].except_devices:
            raise ValueError("the last tier takes every device: it has no except_devices")
        return self


class DerivedUtilization(Sourced):
    """A default fraction that the engine derives: 1 - reserved / memory, each part of the reserved memory in MiB."""

    fixed_mib: float
    per_chunk_token_mib: float
    smallest_chunk_tokens: Positive
    per_rank_mib: float
    per_graph_slot_mib: float
    least_mib: float = Field(description="least reserved memory of a large device")
    least_above_bytes: BytesOrZero = Field(alias="least_above", description="what a large device is")


class ReserveParameters(Document):
    """What a rank keeps for itself besides weights and cache; ``simulator.reserve`` holds the equations."""

    activation_factor: FactorBand = Field(description="peak activation over 2 B x tokens x widest layer")
    logit_bytes: FactorBand = Field(description="sampler workspace per logit: logits, probabilities, sort")
    logits_of: Literal["sequences", "tokens"] = "sequences"
    context_bytes: BytesBand = Field(alias="context", description="device context and library workspaces")
    communication_small_bytes: BytesBand = Field(alias="communication_small", description="TP, up to 64 GiB devices")
    communication_large_bytes: BytesBand = Field(alias="communication_large", description="TP, above 64 GiB")
    graph_per_layer_bytes: BytesBand = Field(alias="graph_per_layer", description="all captured graphs")
    weights_excess_fraction: FactorBand = Field(description="loaded weights beyond their arithmetic size")


class Engine(Document):
    """One engine over a range of versions in which it accounts for memory in one way.

    :ivar utilization_of: what its memory fraction is a fraction of
    :ivar block_tokens: tokens of one block (page) of the cache
    :ivar null_blocks: blocks of the pool that never hold a token
    :ivar graphs_in_budget: whether graphs are taken out of the budget before the cache is sized
    :ivar swa_aware: whether a request is charged only the window of a sliding layer
    :ivar log_tokens: how the printed token count is made of blocks
    :ivar unified_pages: whether layers of all kinds share one page size and one pool of blocks
    :ivar window_spare_blocks: blocks that a bounded layer keeps beyond its window and one pass
    :ivar state_pages_per_sequence: state pages that one sequence of a hybrid model takes
    :ivar appends: whether a new token goes into room set aside, or a decode step copies the whole cache to add it
    :ivar attention: whether one kernel attends, or unfused products whose scores pass through memory
    :ivar state_pool_ratio: bytes of the pool of recurrent states over bytes of the token pool, where they are apart
    """

    name: str
    engine: str
    aliases: tuple[str, ...] = ()
    from_version: str | None = None
    before_version: str | None = None
    since: str | None = Field(None, pattern=r"^\d{4}-\d{2}$", description="month of the first version covered")
    source: str
    utilization_of: UtilizationOf
    utilization: float | None = Field(None, gt=0, le=1)
    derived_utilization: DerivedUtilization | None = None
    block_tokens: Positive
    null_blocks: int = Field(0, ge=0)
    graphs_in_budget: bool
    swa_aware: bool
    log_tokens: Literal["blocks", "blocks over groups", "concurrency times length"] = "blocks"
    unified_pages: bool = False
    window_spare_blocks: int = Field(0, ge=0, le=1)
    state_pages_per_sequence: float = Field(1.0, ge=1)
    appends: Literal["in place", "concat"] = "in place"
    attention: Literal["fused", "eager", "static"] = "fused"
    replays_graphs: bool = True
    splits_vocabulary: bool = True
    logits_of_prompts: Literal["last", "all"] = "last"
    state_pool_ratio: float = Field(0.0, ge=0)
    scheduler: Scheduler
    host: HostTime
    serving: ServingConstants
    reserve: ReserveParameters
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Engine:
        if (self.utilization is None) == (self.derived_utilization is None):
            raise ValueError("needs exactly one of utilization and derived_utilization")
        if self.derived_utilization and any(tier.graph_slots is None for tier in self.scheduler.tiers):
            raise ValueError("derived_utilization needs graph_slots in every tier")
        return self

    def tier(self, memory_bytes: float, device_name: str = "") -> Tier:
        """The scheduler's defaults on a device of ``memory_bytes`` called ``device_name``."""
        name = canonical(device_name)
        for tier in self.scheduler.tiers[:-1]:
            left_out = any(canonical(part) in name for part in tier.except_devices)
            if memory_bytes >= tier.memory_from_bytes and not left_out:
                return tier
        return self.scheduler.tiers[-1]

    def batched_tokens(self, max_model_len: int, memory_bytes: float, device_name: str = "") -> int:
        """Tokens of the largest pass, which is what the start-up pass is sized for, unless the user says otherwise.

        :param max_model_len: longest sequence the engine is started for, tokens
        """
        budget = self.tier(memory_bytes, device_name).max_batched_tokens
        limit = self.scheduler.whole_prompt_up_to_tokens
        if not self.scheduler.chunked_prefill or (limit is not None and max_model_len <= limit):
            return max(max_model_len, budget)
        return budget

    def default_utilization(self, memory_bytes: float, tp: int = 1, pp: int = 1) -> float:
        """The memory fraction when the user states none.

        :param memory_bytes: memory of one device as the driver reports it
        """
        if self.utilization is not None:
            return self.utilization
        rule, tier = self.derived_utilization, self.tier(memory_bytes)
        if rule is None:
            return 1.0
        slots = (tier.graph_slots_tp4 if tp >= 4 else None) or tier.graph_slots or 0
        chunk = max(tier.max_batched_tokens, rule.smallest_chunk_tokens)
        reserved = rule.fixed_mib + rule.per_chunk_token_mib * chunk + rule.per_rank_mib * tp * pp
        reserved += rule.per_graph_slot_mib * slots
        if memory_bytes > rule.least_above_bytes:
            reserved = max(reserved, rule.least_mib)
        return max(1.0 - reserved * _MIB / memory_bytes, 0.0)

    def kv_pool_bytes(
        self,
        visible_bytes: Numbers,
        utilization: float,
        weights_bytes: Numbers,
        before_load_bytes: Numbers,
        after_load_bytes: Numbers,
    ) -> Numbers:
        """Memory that one rank gives to the cache, by what this engine's fraction means; negative when it refuses.

        :param visible_bytes: memory of the device that the framework sees
        :param utilization: the engine's memory fraction (ignored where it has none)
        :param weights_bytes: loaded weights of the rank
        :param before_load_bytes: taken before the weights: context and communication buffers
        :param after_load_bytes: taken after them: activations, sampler workspace, graphs in the budget

        ``total memory``: u V - W - before - after. ``static fraction``: u (V - before) - W, with activations and
        graphs in the remaining 1 - u. ``free after load``: u (V - W - before - after). ``none``: the same with u = 1.
        """
        if self.utilization_of == "total memory":
            return utilization * visible_bytes - weights_bytes - before_load_bytes - after_load_bytes
        if self.utilization_of == "static fraction":
            return utilization * (visible_bytes - before_load_bytes) - weights_bytes
        fraction = utilization if self.utilization_of == "free after load" else 1.0
        return fraction * (visible_bytes - weights_bytes - before_load_bytes - after_load_bytes)


ENGINES = Library("kvwall.hardware", "engines", "engine", Engine)
