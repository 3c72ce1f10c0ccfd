"""FlexGen's own cost model as its released code has it (FlexLLMGen, experimental/cost_model.py).

Multi-head models. The load of a layer's weights is added to a decode step, not overlapped: ``T_gen = ctog +
max(gtoc, dtoc, ctod, comp)``. The released model covers 16 bits and a cache off the device that the processors attend
to. What its code does besides is added here by the same rates: a cache that crosses to the device is part of ctog, and
4-bit tensors move 4.5 bits an element and are unpacked before each use by passes over device memory (compression.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.hardware.offload_rates import OffloadRates

#: Part of the drive's rate that weights reach while caches are read, and the fit of the processors' efficiency.
_DRIVE_SHARE = 0.95
_LEAST_EFFICIENCY = 0.1

#: Codes of 4 bits with two 16-bit numbers for 64 elements, over 16 bits.
_COMPRESSED = (4.0 + 32.0 / 64.0) / 16.0
#: Bytes a 4-bit element moves in device memory until it is 16 bits: half a byte is shifted or masked into a byte of its
#: own and stored into every second place (2 x (0.5 + 0.5 + 0.5 + 2) a pair of elements, stores by whole sectors), then
#: divided by the scale and added to the minimum in place (2 x 4).
_UNPACK_BYTES = 15.0


@dataclass(frozen=True)
class Policy:
    """What lies where, as parts of one, and how a batch is cut.

    :ivar weights: on the device, in host memory, on drives
    :ivar cache: the same of the cache
    :ivar hidden: the same of activations
    :ivar block: sequences of one block on the device
    :ivar blocks: blocks of the zig-zag schedule
    :ivar on_host: the processors attend to the cache off the device (``--cpu``)
    :ivar packed_weights: weights in 4 bits
    :ivar packed_cache: cache in 4 bits
    """

    weights: tuple[float, float, float]
    cache: tuple[float, float, float]
    hidden: tuple[float, float, float]
    block: int
    blocks: int = 1
    on_host: bool = True
    packed_weights: bool = False
    packed_cache: bool = False

    @property
    def weights_width(self) -> float:
        """Bytes of the weights as they lie, over 16 bits."""
        return _COMPRESSED if self.packed_weights else 1.0

    @property
    def cache_width(self) -> float:
        """The same of the cache."""
        return _COMPRESSED if self.packed_cache else 1.0

    @property
    def batch(self) -> int:
        """Sequences in all."""
        return self.block * self.blocks


@dataclass(frozen=True)
class Shape:
    """A decoder of ``layers`` layers of width ``hidden`` and ``inner``, on ``prompt`` and ``output`` tokens."""

    layers: int
    hidden: int
    inner: int
    prompt: int
    output: int

    @property
    def layer_bytes(self) -> float:
        """Weights of one layer in 16 bits: ``8 h^2 + 4 h h'``."""
        return 8.0 * self.hidden**2 + 4.0 * self.hidden * self.inner


def layer_prefill_s(shape: Shape, policy: Policy, r: OffloadRates) -> float:
    """Seconds of one layer in prefill: the longest of the copies and the computation."""
    (_, wc, wd), (_, cc, cd), (_, hc, hd) = policy.weights, policy.cache, policy.hidden
    s, h, wi = shape.prompt, shape.hidden, shape.layer_bytes * policy.weights_width
    rows, cache = 2.0 * s * h * policy.batch, 4.0 * (s + 1) * h * policy.batch * policy.cache_width
    up = (wi * (wc + wd) + rows * (hc + hd)) / r.host_to_device
    up += (wi * wd + rows * hd) / r.drive_to_host
    down = cache * (cc + cd) / r.device_to_host_cache + rows * (hc + hd) / r.device_to_host_hidden
    down += cache * cd / r.host_to_drive_cache_prefill + rows * hd / r.host_to_drive_hidden_prefill
    compute = policy.batch * (8.0 * s * h**2 + 4.0 * s * h * shape.inner) / r.matrix_prefill
    compute += 4.0 * policy.batch * s**2 * h / r.batched_prefill + unpack_s(shape, policy, r, 0.0)
    return max(up, down, compute)


def layer_generation_s(shape: Shape, policy: Policy, r: OffloadRates) -> float:
    """Seconds of one layer in a mean decode step."""
    (_, wc, wd), (cg, cc, cd), (_, hc, hd) = policy.weights, policy.cache, policy.hidden
    h, wi, b = shape.hidden, shape.layer_bytes * policy.weights_width, policy.batch
    rows, attended = 2.0 * h * b, 4.0 * b * (shape.prompt + shape.output / 2.0) * h
    stored, away = attended * policy.cache_width, cc + cd
    crossing = 0.0 if policy.on_host else stored * away
    up = (wi * (wc + wd) + rows * (hc + hd) + crossing) / r.host_to_device
    down = rows * (hc + hd) / r.device_to_host_hidden
    drive_in = (stored * cd + rows * hd) / r.drive_to_host + wi * wd / (_DRIVE_SHARE * r.drive_to_host)
    drive_out = (4.0 * b * h * policy.cache_width * cd + rows * hd) / r.host_to_drive_generation
    on_device = cg if policy.on_host else 1.0
    compute = b * (8.0 * h**2 + 4.0 * h * shape.inner) / r.matrix_generation
    compute += attended * on_device / r.batched_generation + unpack_s(shape, policy, r, attended / 2.0 * on_device)
    compute += attended * (1.0 - on_device) / (r.host_attention * host_efficiency(policy.block, h))
    return up + max(down, drive_in, drive_out, compute)


def unpack_s(shape: Shape, policy: Policy, r: OffloadRates, cached: float) -> float:
    """Seconds in which the device unpacks one layer: its weights for every block, and ``cached`` elements of cache."""
    elements = policy.packed_weights * shape.layer_bytes / 2.0 * policy.blocks + policy.packed_cache * cached
    return _UNPACK_BYTES * elements / r.device_memory


def host_efficiency(block: int, hidden: int) -> float:
    """What processors keep of their rate on small blocks and narrow models: the code's fit in powers of two."""
    x, y = max(0.0, float(np.log2(64 / block))), max(0.0, float(np.log2(4096 / hidden)))
    return max(_LEAST_EFFICIENCY, 1.0 + 0.0168 * x * y - 0.0328 * x - 0.0621 * y)


def tokens_per_s(shape: Shape, policy: Policy, rates: OffloadRates) -> float:
    """``batch n / (T_pre l + T_gen (n - 1) l)``."""
    prefill = layer_prefill_s(shape, policy, rates) * shape.layers
    steps = layer_generation_s(shape, policy, rates) * (shape.output - 1) * shape.layers
    return policy.batch * shape.output / (prefill + steps)
