"""The peaks of the machine at hand: the best of many repeats of a copy, a read, a product and an empty kernel.

A peak is a bound. The best of the repeats is its estimate from below, and other work on the machine only lowers it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch

from kvwall.validate.kernels.trial import DTYPES
from kvwall.validate.peak_rates import Peaks

#: Buffers of a copy exceed the last-level cache so many times, and are at least so large.
_COVER = 8
_LEAST_BYTES = 2**26
#: Part of the memory that one buffer may take.
_MOST_MEMORY = 1 / 16

#: Part of the last-level cache that a copy within it fills, both buffers together.
_CACHED_PART = 0.5

#: Sides of square products; larger ones are left out once a product takes longer than the budget.
_SIDES = (256, 512, 1024, 2048, 4096, 8192)

#: Passes over everything, so that a burst of other work does not hit all repeats of one peak.
_PASSES = 3


Run = Callable[[], object]


class _Best:
    """The shortest time of one call over all passes."""

    def __init__(self, seconds_of: Callable[[Run], float]) -> None:
        self._seconds_of = seconds_of
        self.seconds = float("inf")
        self.repeats = 0

    def add(self, run: Run, budget_s: float) -> None:
        run()
        until = perf_counter() + budget_s
        while True:
            self.seconds = min(self.seconds, self._seconds_of(run))
            self.repeats += 1
            if perf_counter() > until:
                return


def _on_host_s(run: Run) -> float:
    started = perf_counter()
    run()
    return perf_counter() - started


def _on_gpu_s(run: Run) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e-3


def measured_peaks(device: str, memory_bytes: float, cache_bytes: float, budget_s: float) -> Peaks:
    """The peaks of ``device`` (``cpu`` or ``cuda``).

    :param cache_bytes: last-level cache
    :param budget_s: seconds of repeats of one peak in one pass
    """
    seconds_of = _on_gpu_s if device == "cuda" else _on_host_s
    best: dict[str, _Best] = {}
    moved: dict[str, float] = {}

    def keep(name: str, amount: float, run: Run) -> None:
        moved[name] = amount
        best.setdefault(name, _Best(seconds_of)).add(run, budget_s)

    large = min(max(_COVER * cache_bytes, _LEAST_BYTES), _MOST_MEMORY * memory_bytes)
    for _ in range(_PASSES):
        _copies(keep, "memory", int(large), device)
        _copies(keep, "cache", int(_CACHED_PART / 2 * cache_bytes), device)
        for dtype in DTYPES:
            _products(keep, dtype, device, budget_s)
        if device == "cuda":
            _link(keep, int(large))
        _launch(keep, device)

    def fastest(part: str) -> str | None:
        return max((name for name in best if name.startswith(part)), key=lambda name: rate(name), default=None)

    def rate(name: str | None) -> float:
        return moved[name] / best[name].seconds if name else 0.0

    memory, cache, link = (fastest(part) for part in ("memory", "cache", "link"))
    products = {dtype: name for dtype in DTYPES if (name := fastest(f"product {dtype} ")) is not None}
    told = {"memory": memory, "cache": cache, "link": link, "launch": "launch"}
    repeats = {part: best[name].repeats for part, name in told.items() if name}
    return Peaks(
        memory_bytes_per_s=rate(memory),
        cache_bytes_per_s=rate(cache) if rate(cache) > rate(memory) else None,
        flops_per_s={dtype: rate(name) for dtype, name in products.items()},  # type: ignore[misc]
        link_bytes_per_s=rate(link) or None,
        eager_s=best["launch"].seconds,
        graph_s=1 / rate("graph") if "graph" in best else best["launch"].seconds,
        repeats={**repeats, "product": min(best[name].repeats for name in products.values())},
    )


_Keep = Callable[[str, float, Run], None]


def _copies(keep: _Keep, name: str, size: int, device: str) -> None:
    origin = torch.ones(max(1024, size // 4), dtype=torch.float32, device=device)
    out = torch.empty_like(origin)
    keep(f"{name} copy", 2.0 * origin.numel() * 4, lambda: out.copy_(origin))
    keep(f"{name} read", 1.0 * origin.numel() * 4, origin.sum)


def _products(keep: _Keep, name: str, device: str, budget_s: float) -> None:
    """Square products of one dtype, the larger the better they use the units, as long as one fits the budget."""
    dtype = DTYPES[name]
    if device == "cpu" and dtype not in (torch.float32, torch.bfloat16):
        return  # torch has no products of the others that anyone would run on a processor
    for side in _SIDES:
        try:
            run = _product(side, dtype, device)
            once_s = _on_host_s(run)
        except RuntimeError:  # no such product on this device
            return
        keep(f"product {name} {side}", 2.0 * side**3, run)
        if once_s > budget_s:
            return


def _product(side: int, dtype: torch.dtype, device: str) -> Run:
    wide = torch.randn(side, side, device=device)
    if dtype == torch.int8:
        codes = wide.mul(30).clamp(-127, 127).to(dtype)
        return lambda: torch._int_mm(codes, codes.t())
    x = wide.to(dtype)
    if dtype.itemsize == 1:
        one = torch.ones((), dtype=torch.float32, device=device)
        return lambda: torch._scaled_mm(x, x.t(), one, one, out_dtype=torch.bfloat16)
    return lambda: torch.matmul(x, x.t())


def _link(keep: _Keep, size: int) -> None:
    host = torch.ones(size, dtype=torch.uint8).pin_memory()
    there = torch.empty(size, dtype=torch.uint8, device="cuda")
    keep("link", float(size), lambda: there.copy_(host, non_blocking=True))


def _launch(keep: _Keep, device: str) -> None:
    few = torch.zeros(32, device=device)
    keep("launch", 1.0, lambda: few.add_(1.0))
    if device != "cuda":
        return
    calls = 100
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            few.add_(1.0)
    keep("graph", float(calls), graph.replay)
