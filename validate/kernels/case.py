"""One point to measure: a pattern, its shape, and the columns under which ``kvwall predict`` knows it."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

#: Patterns written in Triton: they need a GPU, or Triton's interpreter.
TRITON_PATTERNS = frozenset(
    {
        "host_rows",
        "kivi_decode",
        "lowrank_decode",
        "mla_decode",
        "page_selection",
        "paged_decode",
        "quantize_append",
        "token_int4_decode",
    }
)


@dataclass(frozen=True)
class Case:
    """One point of a campaign. Columns that a kernel does not have stay ``None``.

    :ivar pattern: module of this folder that runs it
    :ivar kernel: ``decode_attention``, ``gemm``, ... as ``kvwall predict`` names it
    :ivar framework: ``kvwall`` for the kernels of this folder, ``torch`` for what torch ships, or a library
    :ivar batch: sequences
    :ivar q_len: new tokens per sequence
    :ivar kv_len: tokens attended, the new ones included
    :ivar m: rows of a product, or tokens
    :ivar message_bytes: payload of a copy or of one rank of a collective
    :ivar cache: ``cold`` (inputs come from device memory) or ``warm`` (the same buffers every time)
    :ivar options: what only this pattern knows, as pairs
    """

    pattern: str
    kernel: str
    framework: str = "torch"
    dtype: str = "bf16"
    kv_dtype: str | None = None
    batch: int | None = None
    q_len: int | None = None
    kv_len: int | None = None
    n_q_heads: int | None = None
    n_kv_heads: int | None = None
    head_dim: int | None = None
    window: int | None = None
    m: int | None = None
    n: int | None = None
    k: int | None = None
    num_gpus: int | None = None
    message_bytes: int | None = None
    cache: str = "cold"
    options: tuple[tuple[str, str | int], ...] = ()

    def option(self, name: str, default: int = 0) -> int:
        """A whole number among the options."""
        return int(dict(self.options).get(name, default))

    def word(self, name: str, default: str = "") -> str:
        """A word among the options."""
        return str(dict(self.options).get(name, default))

    def size(self, name: str) -> int:
        """The column ``name``, 1 where the case has none."""
        value = getattr(self, name)
        return 1 if value is None else int(value)

    @property
    def key(self) -> str:
        """What tells this point from all others, the same on every machine."""
        columns = [f"{name}={value}" for name, value in vars(self).items() if value is not None and name != "options"]
        return ";".join([*columns, *(f"{name}={value}" for name, value in self.options)])

    @property
    def smaller(self) -> Case | None:
        """The same point at half its largest dimension, for a device whose memory it does not fit; ``None`` at 1."""
        for name in ("batch", "message_bytes", "kv_len", "m"):
            value = getattr(self, name)
            if value is not None and value > 1:
                half = ceil(value / 2)
                query = min(self.q_len, half) if name == "kv_len" and self.q_len else self.q_len
                return replace(self, **{name: half}, q_len=query)
        return None


def load_pattern(name: str) -> Any:
    """The module of the pattern ``name``; imports torch, and triton where the pattern is written in it."""
    if name in TRITON_PATTERNS:
        # Version 3.9 warns that this default will change; a measurement should not depend on the version for it.
        os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    return importlib.import_module(f"kvwall.validate.kernels.{name}")
