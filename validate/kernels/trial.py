"""A prepared call, and fresh random inputs for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

#: dtypes by the names of :mod:`kvwall.hardware.dtype`.
DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8": torch.float8_e4m3fn,
    "int8": torch.int8,
}


@dataclass(frozen=True)
class Trial:
    """One call whose buffers exist already.

    :ivar run: starts the call and returns its result
    :ivar reference: what the result must equal, computed in float64 from the same inputs
    :ivar output: the buffer of the result where the call does not allocate it; ``run`` writes all of it
    :ivar buffers: every tensor that the call reads or writes
    :ivar moved_bytes: compulsory traffic: each byte that is needed read once, each result written once
    :ivar flops: operations of the mathematics, two for a multiply and add
    :ivar written_bytes: those of ``moved_bytes`` that the last-level cache may still hold when the call ends, where
        they are a large part
    :ivar capturable: may be recorded into a CUDA graph; copies through pageable memory and collectives may not
    """

    run: Callable[[], torch.Tensor]
    reference: Callable[[], torch.Tensor]
    buffers: tuple[torch.Tensor, ...]
    moved_bytes: float
    flops: float
    output: torch.Tensor | None = None
    capturable: bool = True
    written_bytes: float = 0.0

    @property
    def footprint_bytes(self) -> int:
        """Bytes of all buffers."""
        return sum(size_bytes(buffer) for buffer in self.buffers)


class Source:
    """Where inputs come from: random numbers of one seed on one device.

    :ivar units: compute units of the device, by which a kernel chooses how far to split its work
    """

    def __init__(self, device: str, seed: int) -> None:
        self.device = torch.device(device)
        self._seed = seed
        self._generator = torch.Generator(self.device).manual_seed(seed)
        on_gpu = self.device.type == "cuda"
        self.units = int(torch.cuda.get_device_properties(self.device).multi_processor_count) if on_gpu else 4

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> torch.Tensor:
        """Normal numbers; in 8 bits through 16."""
        wide = torch.float16 if dtype == torch.float8_e4m3fn else dtype
        drawn = torch.randn(shape, dtype=wide, device=self.device, generator=self._generator)
        return (drawn * scale if scale != 1.0 else drawn).to(dtype)

    def uniform(self, *shape: int, low: float, high: float, dtype: torch.dtype) -> torch.Tensor:
        """Numbers between ``low`` and ``high``."""
        drawn = torch.rand(shape, dtype=torch.float32, device=self.device, generator=self._generator)
        return (low + (high - low) * drawn).to(dtype)

    def integers(self, *shape: int, low: int, high: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
        """Whole numbers from ``low`` up to, not including, ``high``."""
        return torch.randint(low, high, shape, dtype=dtype, device=self.device, generator=self._generator)

    def permutation(self, count: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
        """The numbers below ``count`` in random order."""
        return torch.randperm(count, device=self.device, generator=self._generator).to(dtype)

    def host(self) -> Source:
        """Numbers of the same seed in host memory."""
        return Source("cpu", self._seed)

    def words(self, *shape: int) -> torch.Tensor:
        """32-bit words whose every bit is random: packed codes."""
        return self.integers(*shape, low=-(2**31), high=2**31)


def size_bytes(*tensors: torch.Tensor) -> int:
    """Bytes of ``tensors`` together."""
    return sum(int(tensor.numel()) * int(tensor.element_size()) for tensor in tensors)


def unpack(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes of ``bits`` bits out of 32-bit words, lowest bits first, along the last axis."""
    shifts = torch.arange(0, 32, bits, device=words.device)
    codes = (words.long().unsqueeze(-1) >> shifts) & (2**bits - 1)
    return codes.flatten(-2)


def attend(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """Attention of one new token in float64: the reference of every decode kernel.

    :param q: ``[batch, q_heads, d]``
    :param keys: ``[batch, kv_heads, tokens, d]``
    :param values: ``[batch, kv_heads, tokens, d_v]``
    :returns: ``[batch, q_heads, d_v]``
    """
    batch, heads, d = q.shape
    grouped = q.double().reshape(batch, keys.shape[1], -1, d)
    weights = torch.softmax(grouped @ keys.double().transpose(-1, -2) * scale, dim=-1)
    return (weights @ values.double()).reshape(batch, heads, -1)
