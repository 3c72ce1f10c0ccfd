"""Capacity lines that engines printed in public threads, as rows: what was asked of the engine and what it printed."""

from __future__ import annotations

from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field

from kvwall.hardware.document import Document, read_document
from kvwall.hardware.engine_version import engine_families
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.inquiry import Inquiry, resolve

GIB = 2.0**30
LOGS = Path(str(files("kvwall.validate"))) / "logs"

#: Stands in where no device is told: rows that give their pool do not depend on it.
_ANY_DEVICE = "b200-sxm-180gb"
#: Weights that are no one format: a part of them lies on the host.
_NO_FORMAT = frozenset({None, "int4+cpu"})
#: A size with more decimals in GiB was printed in whole MiB.
_MOST_DECIMALS = 5
#: vLLM on other vendors' devices, which print its lines.
_VLLM_PLUGINS = frozenset({"vllm-ascend", "vllm-tt"})


class LogRow(Document):
    """One start of an engine; GiB figures are per rank and kept as text, so that their printed digits are known.

    :ivar audit: ``rate``: tests the bytes of one token; ``rule``: tests a rule of the engine; else only its flags
    :ivar memory_is: whether ``memory_gib`` is what the framework sees or the label of the card
    :ivar fixed_bytes: bytes of the pool that hold no token
    :ivar part: the part of a cache that the row speaks of, all unless given
    """

    id: str
    engine: str
    version: str | None = None
    model: str
    architecture: Literal["stated", "inferred"]
    audit: Literal["rate", "rule"] | None = None
    checkpoint: str | None = None
    device: str | None
    gpu: str | None = None
    memory_gib: float | None = None
    memory_is: Literal["visible", "label"] = "label"
    tp: int = 1
    pp: int = 1
    dcp: int = 1
    weights: str | None = None
    scheme: str | None
    speculative: str | None = None
    set: tuple[str, ...] = ()
    weights_gib: str | None = None
    kv_gib: str | None = None
    fixed_bytes: int = 0
    part: Literal["full"] | None = None
    tokens: int | None = None
    blocks: int | None = None
    block_tokens: int | None = None
    utilization: float | None = None
    max_model_len: int | None = None
    max_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    concurrency: str | None = None
    needed_gib: str | None = None
    available_gib: str | None = None
    longest_tokens: int | None = None
    source: str
    reading: str = ""

    @property
    def is_known_engine(self) -> bool:
        """Whether kvwall has a profile of the engine that printed the row."""
        return self.engine in engine_families()

    @property
    def stored_tokens(self) -> int | None:
        """Printed tokens, or printed blocks times their size."""
        if self.tokens is not None or self.blocks is None:
            return self.tokens
        return self.blocks * (self.block_tokens or 1)

    @cached_property
    def capacity(self) -> Capacity:
        """The capacity that the row's flags mean; the pool is the engine's own where the row prints it."""
        return self.capacity_of(pool=_value(self.kv_gib))

    def capacity_of(self, pool: float | None) -> Capacity:
        """The capacity of the row's flags with a pool of ``pool`` GiB, or with the one that the flags predict."""
        engine = "vllm" if self.engine in _VLLM_PLUGINS else self.engine if self.is_known_engine else "none"
        memory = self.memory_gib if self.memory_is == "visible" or self.device is None else None
        weights = None if self.weights in _NO_FORMAT else self.weights
        inquiry = Inquiry(
            self.model,
            f"{self.device or _ANY_DEVICE}:{self.tp * self.pp}",
            tp=self.tp,
            pp=self.pp,
            dcp=self.dcp,
            engine=engine,
            engine_version=self.version if self.is_known_engine else None,
            memory_utilization=None if engine == "none" else self.utilization,
            max_batched_tokens=self.max_batched_tokens,
            max_num_seqs=self.max_num_seqs,
            max_model_len=self.max_model_len,
            block_size=self.block_tokens,
            speculative=self.speculative,
            weights=weights,
            scheme=self.scheme or "none",
            set=self.set,
            gpu_memory_gib=memory,
            weights_gib=_value(self.weights_gib) if weights is None else None,
            kv_gib=pool if pool is None or pool > 0 else None,
        )
        setup = resolve(inquiry).setup
        return Capacity(setup, self.max_model_len or setup.longest_tokens)


class LogRows(Document):
    """The rows of one file."""

    rows: tuple[LogRow, ...] = Field(min_length=1)


def pool_rows() -> tuple[LogRow, ...]:
    """Rows that print a pool, its tokens or its blocks."""
    return read_document(LOGS / "engine_logs.yaml", LogRows).rows


def refusal_rows() -> tuple[LogRow, ...]:
    """Rows in which vLLM says what one request needs."""
    return read_document(LOGS / "kv_needed.yaml", LogRows).rows


def half_width(printed: str) -> float:
    """Half of the last printed digit of ``printed`` GiB: 0.005 for ``7.71``; many decimals are a count of MiB."""
    decimals = len(printed.partition(".")[2])
    return 0.5 / 1024 if decimals > _MOST_DECIMALS else 0.5 * 10.0**-decimals


def _value(printed: str | None) -> float | None:
    return None if printed is None else float(printed)
