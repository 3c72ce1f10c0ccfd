"""FlexGen's own cost model as its released code has it (FlexLLMGen, experimental/cost_model.py).

16-bit multi-head models; the cache off the device is attended by the processors. The load of a layer's weights is
added to a decode step, not overlapped: ``T_gen = ctog + max(gtoc, dtoc, ctod, comp)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.hardware.offload_rates import OffloadRates

#: Part of the drive's rate that weights reach while caches are read, and the fit of the processors' efficiency.
_DRIVE_SHARE = 0.95
_LEAST_EFFICIENCY = 0.1


@dataclass(frozen=True)
class Policy:
    """What lies where, as parts of one, and how a batch is cut.

    :ivar weights: on the device, in host memory, on drives
    :ivar cache: the same of the cache
    :ivar hidden: the same of activations
    :ivar block: sequences of one block on the device
    :ivar blocks: blocks of the zig-zag schedule
    """

    weights: tuple[float, float, float]
    cache: tuple[float, float, float]
    hidden: tuple[float, float, float]
    block: int
    blocks: int = 1

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
    s, h, wi = shape.prompt, shape.hidden, shape.layer_bytes
    rows, cache = 2.0 * s * h * policy.batch, 4.0 * (s + 1) * h * policy.batch
    up = (wi * (wc + wd) + rows * (hc + hd)) / r.host_to_device
    up += (wi * wd + rows * hd) / r.drive_to_host
    down = cache * (cc + cd) / r.device_to_host_cache + rows * (hc + hd) / r.device_to_host_hidden
    down += cache * cd / r.host_to_drive_cache_prefill + rows * hd / r.host_to_drive_hidden_prefill
    compute = policy.batch * (8.0 * s * h**2 + 4.0 * s * h * shape.inner) / r.matrix_prefill
    compute += 4.0 * policy.batch * s**2 * h / r.batched_prefill
    return max(up, down, compute)


def layer_generation_s(shape: Shape, policy: Policy, r: OffloadRates) -> float:
    """Seconds of one layer in a mean decode step."""
    (_, wc, wd), (cg, cc, cd), (_, hc, hd) = policy.weights, policy.cache, policy.hidden
    h, wi, b = shape.hidden, shape.layer_bytes, policy.batch
    rows, attended = 2.0 * h * b, 4.0 * b * (shape.prompt + shape.output / 2.0) * h
    up = (wi * (wc + wd) + rows * (hc + hd)) / r.host_to_device
    down = rows * (hc + hd) / r.device_to_host_hidden
    drive_in = (attended * cd + rows * hd) / r.drive_to_host + wi * wd / (_DRIVE_SHARE * r.drive_to_host)
    drive_out = (4.0 * b * h * cd + rows * hd) / r.host_to_drive_generation
    compute = b * (8.0 * h**2 + 4.0 * h * shape.inner) / r.matrix_generation + attended * cg / r.batched_generation
    compute += attended * (cc + cd) / (r.host_attention * host_efficiency(policy.block, h))
    return up + max(down, drive_in, drive_out, compute)


def host_efficiency(block: int, hidden: int) -> float:
    """What processors keep of their rate on small blocks and narrow models: the code's fit in powers of two."""
    x, y = max(0.0, float(np.log2(64 / block))), max(0.0, float(np.log2(4096 / hidden)))
    return max(_LEAST_EFFICIENCY, 1.0 + 0.0168 * x * y - 0.0328 * x - 0.0621 * y)


def tokens_per_s(shape: Shape, policy: Policy, rates: OffloadRates) -> float:
    """``batch n / (T_pre l + T_gen (n - 1) l)``."""
    prefill = layer_prefill_s(shape, policy, rates) * shape.layers
    steps = layer_generation_s(shape, policy, rates) * (shape.output - 1) * shape.layers
    return policy.batch * shape.output / (prefill + steps)
