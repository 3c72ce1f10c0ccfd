"""How many thread blocks a decode kernel starts and what each reads: the libraries' own rules, no fitted number.

Every function maps shapes to a :class:`Plan`. With one query per sequence there are only ``batch x KV heads`` pieces of
work, so each library cuts the context into splits to fill the device; the rules differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.kernel_time.common import as_array, ceil_div
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array, Numeric

#: Query rows of one tile of the tensor-core kernels; the heads of a group fill them.
_ROWS = 64.0

#: Splits that vLLM allows FlashAttention-3 and -4 in a captured graph.
_MOST_SPLITS = 32.0


@dataclass(frozen=True)
class Plan:
    """A launch.

    :ivar thread_blocks: of the whole launch
    :ivar steps: KV blocks that one thread block walks, one after the other
    :ivar splits: parts a sequence is cut into; above one, their results must be combined
    :ivar step_tokens: tokens of one step
    :ivar residents: thread blocks that share one compute unit
    """

    thread_blocks: Array
    steps: Array
    splits: Array
    step_tokens: Array
    residents: Array


def attended_tokens(points: Points) -> Array:
    """Tokens that one query reads: its context, or its window when that is shorter."""
    window, length = as_array(points.window), as_array(points.kv_len)
    return np.where(window > 0, np.minimum(length, window), length)


def group_size(points: Points) -> Array:
    """Query heads that share one KV head."""
    return as_array(as_array(points.q_heads) / points.kv_heads)


def flash3_plan(points: Points, machine: Machine, step_tokens: Numeric) -> Plan:
    """FlashAttention-3 under vLLM: as many KV blocks per thread block as fill the device with 10 % to spare.

    At most 32 splits, the bound vLLM sets for captured graphs. Source: ``prepare_varlen_num_blocks`` in
    hopper/flash_prepare_scheduler.cu of vllm-project/flash-attention.
    """
    work = as_array(points.batch) * points.kv_heads * ceil_div(group_size(points), _ROWS)
    blocks = ceil_div(attended_tokens(points), step_tokens)
    per_thread_block = np.ceil(1.1 * work * blocks / machine.units)
    splits = np.minimum(ceil_div(blocks, per_thread_block), _MOST_SPLITS)
    steps = ceil_div(blocks, splits)
    splits = ceil_div(blocks, steps)
    return Plan(work * splits, steps, splits, as_array(step_tokens), np.ones_like(steps))


def flash4_plan(points: Points) -> Plan:
    """FlashAttention-4 under vLLM on Hopper (head_dim 512): always the 32 splits that a captured graph was given.

    Measured times at contexts of a few tokens grow by one wave for every 132 of ``32 x batch x KV heads``.
    """
    step_tokens = as_array(128.0)
    work = as_array(points.batch) * points.kv_heads * ceil_div(group_size(points), _ROWS)
    splits = np.full_like(work, _MOST_SPLITS)
    steps = ceil_div(ceil_div(attended_tokens(points), step_tokens), splits)
    return Plan(work * splits, steps, splits + 0 * steps, step_tokens, np.ones_like(steps))


def flash2_plan(points: Points, machine: Machine) -> Plan:
    """FlashAttention-2: the heads of a group become rows, and an 85 % rule picks the splits.

    Without groups (as many KV heads as query heads) nothing is ever split: one query reads a long context alone.
    Source: ``num_splits_heuristic`` and ``set_params_splitkv`` in csrc/flash_attn/flash_api.cpp of
    Dao-AILab/flash-attention.
    """
    head_dim, grouped = as_array(points.head_dim), group_size(points) > 1
    step_tokens = np.where(head_dim <= 64, 256.0, np.where(head_dim <= 128, 128.0, 64.0))
    blocks = ceil_div(attended_tokens(points), step_tokens)
    packed = as_array(points.batch) * points.kv_heads * ceil_div(group_size(points), _ROWS)
    work = np.where(grouped, packed, as_array(points.batch) * points.q_heads)
    splits = np.where(grouped, flash2_splits(work, 2.0 * machine.units, blocks), 1.0)
    steps = ceil_div(blocks, splits)
    splits = ceil_div(blocks, steps)
    tile_bytes = (_ROWS + 2 * step_tokens) * head_dim * 2
    residents = np.clip(np.floor(machine.sram_per_unit_bytes / tile_bytes), 1, 2)
    return Plan(work * splits, steps, splits, step_tokens, residents)


def flash2_splits(work: Numeric, slots: float, blocks: Numeric, most: int = 128) -> Array:
    """The fewest splits that fill waves to at least 85 % of the best filling; one when ``work`` fills 80 % already.

    :param work: thread blocks without a split
    :param slots: thread blocks that FlashAttention-2 counts on running at once
    :param blocks: KV blocks of a sequence
    """
    work, blocks = np.broadcast_arrays(as_array(work), as_array(blocks))
    splits, few = np.ones(work.shape), work < 0.8 * slots
    if few.any():
        # A grid asks for the same pair many times, and each tries every split.
        pairs, place = np.unique(work[few] + 1j * blocks[few], return_inverse=True)
        splits[few] = _fewest_splits(pairs.real, slots, pairs.imag, most)[place]
    return splits


def _fewest_splits(work: Array, slots: float, blocks: Array, most: int) -> Array:
    """The rule for those that do not fill the device; shape (n,)."""
    tried = np.arange(1.0, most + 1)
    possible = tried <= np.minimum(blocks, slots)[..., None]
    per_split = np.ceil(blocks[..., None] / tried)
    new = np.concatenate([np.ones((*blocks.shape, 1), bool), per_split[..., 1:] != per_split[..., :-1]], axis=-1)
    waves = work[..., None] * tried / slots
    filling = np.where(possible & new, waves / np.ceil(waves), 0.0)
    good = (filling >= 0.85 * filling.max(axis=-1, keepdims=True)) & possible & new
    return np.asarray(np.argmax(good, axis=-1) + 1.0)


def xqa_plan(points: Points, machine: Machine) -> Plan:
    """TensorRT-LLM's tensor-core kernel for a 16-bit cache: one wave of splits of at least 128 tokens."""
    step_tokens = as_array(128.0)
    work = as_array(as_array(points.batch) * points.kv_heads)
    blocks = ceil_div(attended_tokens(points), step_tokens)
    splits = np.clip(np.floor(machine.units / work), 1.0, blocks)
    steps = ceil_div(blocks, splits)
    splits = ceil_div(blocks, steps)
    return Plan(work * splits, steps, splits, step_tokens, np.ones_like(steps))


def xqa_hopper_plan(points: Points, machine: Machine) -> Plan:
    """TensorRT-LLM's Hopper kernel for an fp8 cache: splits grow with the root of the context, up to eight waves.

    Source: ``computeMultiBlockCount`` in decoderXQAImplJIT of NVIDIA/TensorRT-LLM.
    """
    step_tokens = as_array(64.0)
    length = attended_tokens(points)
    work = as_array(as_array(points.batch) * points.kv_heads)
    parts = np.floor(length / 128)
    splits = np.maximum(np.minimum(parts, np.round(np.sqrt(8 * parts))), 1.0)
    excess = np.maximum(work * splits / machine.units / 8, 1.0)
    splits = np.maximum(np.floor(splits / excess), 1.0)
    steps = ceil_div(ceil_div(length, step_tokens), splits)
    return Plan(work * splits, steps, splits, step_tokens, np.ones_like(steps))


def mmha_plan(points: Points, machine: Machine) -> Plan:
    """TensorRT-LLM's CUDA-core kernel: one thread block per query head, wide when there are few of them.

    A thread block has 1024 threads when that still fills one wave, else 512 or 256; one loop covers eight 16-byte loads
    per thread. Scores stay in shared memory (six bytes a token), which limits how many blocks share a unit. Source:
    ``mmha_launch_kernel_ex`` and ``multi_block_grid_setup`` in decoderMaskedMultiheadAttentionLaunch.h of
    NVIDIA/TensorRT-LLM.
    """
    length = attended_tokens(points)
    work = as_array(as_array(points.batch) * points.q_heads)
    factor = np.minimum(ceil_div(machine.units * 4, work), 4.0)
    threads = np.where(factor >= 4, 1024.0, np.where(factor >= 2, 512.0, 256.0))
    padded_dim = 2 ** np.ceil(np.log2(as_array(points.head_dim)))
    step_tokens = threads * 8 * 16 / (padded_dim * 2)
    splits = np.maximum(np.minimum(ceil_div(machine.units, work), ceil_div(length + 1, step_tokens)), 1.0)
    tokens = ceil_div(length, splits)
    residents = np.minimum(1024 / threads, np.floor(machine.sram_per_unit_bytes / (tokens * 6 + 2048)))
    steps = np.maximum(ceil_div(tokens, step_tokens), 1.0)
    return Plan(work * splits, steps, splits, step_tokens, np.maximum(residents, 1.0))


def uses_xqa(points: Points, fp8_cache: Numeric, units: Numeric) -> NDArray[np.bool_]:
    """Whether TensorRT-LLM takes its tensor-core kernel: groups of 2 to 32 heads, and enough work or an fp8 cache.

    Source: ``supportConfigQGMMA``, ``supportConfigHMMA`` and ``mayHavePerfGain`` of NVIDIA/TensorRT-LLM.
    """
    group = group_size(points)
    parts = np.maximum(1, np.floor(as_array(points.kv_len) / 128))
    enough = 4 * as_array(points.batch) * points.kv_heads * parts >= units
    return np.asarray((group > 1) & (group <= 32) & (enough | (as_array(fp8_cache) > 0)))
