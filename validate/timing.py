"""How long a call takes: warmed up, many times, on a cold cache unless asked otherwise; the median and its spread.

On a GPU calls are recorded into a CUDA graph and the replay is timed by device events, so that the host's launches
stay out of the numbers. A serving step finds a cold cache: the weights and the other layers have passed through since
the last call. Two ways give that: the calls of a graph rotate over sets of inputs that together exceed the cache
several times; and where inputs are so small that too many sets would be needed, each call follows a kernel that
sweeps the cache, and the time of a graph of sweeps alone is taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil
from time import perf_counter

import numpy as np
import torch

from kvwall.validate.kernels.trial import Trial

#: Sets of inputs rotate over so many times the last-level cache.
COLD_COVER = 3.0
#: More sets than this are not made: the cache is swept instead.
MOST_SETS = 48

_FEWEST_SAMPLES = 7
_MOST_SAMPLES = 200
#: Batches of samples on a host, of which one that spreads less than this ends the measurement.
_MOST_BATCHES = 3
_STEADY = 0.5
#: Device time of one replay: long against the resolution of events (about half a microsecond).
_REPLAY_S = 1.5e-3
_MOST_CALLS = 400
_SWEPT_CALLS = 16


@dataclass(frozen=True)
class Timing:
    """Seconds of one call.

    :ivar low_s: 10th percentile over the samples; ``high_s`` the 90th
    :ivar method: ``graph``, ``graph_swept``, ``events`` (device) or ``clock`` (host)
    :ivar sets: sets of inputs that were rotated
    """

    median_s: float
    low_s: float
    high_s: float
    samples: int
    method: str
    sets: int

    @property
    def spread(self) -> float:
        """From the 10th to the 90th percentile, as a part of the median."""
        return (self.high_s - self.low_s) / self.median_s


def summarize(samples: Sequence[float], *, method: str, sets: int) -> Timing:
    """Median and percentiles of ``samples`` in seconds.

    :raises RuntimeError: the median is not positive, so the clock has not resolved the call
    """
    low, median, high = (float(value) for value in np.percentile(samples, (10, 50, 90)))
    if not median > 0:
        raise RuntimeError(f"not resolved: the median of {len(samples)} samples is {median * 1e6:.3g} us")
    return Timing(median, low, high, len(samples), method, sets)


def sets_for(footprint_bytes: float, cache_bytes: float, free_bytes: float) -> int:
    """Sets of inputs that make a rotation cold; 1 where the cache has to be swept instead."""
    if footprint_bytes >= COLD_COVER * cache_bytes:
        return 1
    wanted = ceil(COLD_COVER * cache_bytes / max(1.0, footprint_bytes)) + 1
    return wanted if wanted <= MOST_SETS and wanted * footprint_bytes <= free_bytes / 4 else 1


class CpuClock:
    """Times calls on the host."""

    def __init__(self, cache_bytes: float) -> None:
        self.cache_bytes = cache_bytes
        self._sweep = torch.ones(ceil(2 * cache_bytes / 8), dtype=torch.float64)

    @property
    def free_bytes(self) -> float:
        """Nothing is rotated on the host: the cache is swept before each call."""
        return 0.0

    def time(self, trials: Sequence[Trial], *, cold: bool, budget_s: float) -> Timing:
        """Time ``trials[0]``."""
        run = trials[0].run
        run()
        # Other work on the machine comes in bursts: an uneven batch is taken again, and the fastest one kept.
        batches: list[Timing] = []
        while len(batches) < _MOST_BATCHES and not (batches and batches[-1].spread < _STEADY):
            batches.append(summarize(self._samples(run, cold, budget_s), method="clock", sets=1))
        return min(batches, key=lambda batch: batch.median_s)

    def _samples(self, run: Callable[[], object], cold: bool, budget_s: float) -> list[float]:
        samples: list[float] = []
        until = perf_counter() + budget_s
        while len(samples) < _FEWEST_SAMPLES or (perf_counter() < until and len(samples) < _MOST_SAMPLES):
            if cold:
                self._sweep.sum()
            started = perf_counter()
            run()
            samples.append(perf_counter() - started)
            if perf_counter() > until + 4 * budget_s and len(samples) >= 3:
                break
        return samples


class GpuClock:
    """Times calls on the current CUDA device.

    :param cache_bytes: last-level cache
    """

    def __init__(self, cache_bytes: float) -> None:
        self.cache_bytes = cache_bytes
        self._sweep = torch.ones(ceil(COLD_COVER * cache_bytes / 4), dtype=torch.float32, device="cuda")
        self._swept = torch.zeros((), dtype=torch.float32, device="cuda")

    @property
    def free_bytes(self) -> float:
        """Device memory that can still be allocated."""
        return float(torch.cuda.mem_get_info()[0])

    def time(self, trials: Sequence[Trial], *, cold: bool, budget_s: float) -> Timing:
        """Time one call, rotating over ``trials``; they are cold together or the cache is swept."""
        for trial in trials:
            trial.run()
        torch.cuda.synchronize()
        covered = sum(trial.footprint_bytes for trial in trials) >= COLD_COVER * self.cache_bytes
        swept = cold and not covered
        if all(trial.capturable for trial in trials):
            try:
                return self._replayed(trials, swept, budget_s)
            except RuntimeError as error:
                # Some operation waits for the device inside, which no graph can hold.
                if "captur" not in str(error):
                    raise
        return self._eager(trials, swept, budget_s)

    def _replayed(self, trials: Sequence[Trial], swept: bool, budget_s: float) -> Timing:
        once_s = self._elapsed_s(trials[0].run)
        if swept:
            return self._swept_graph(trials, budget_s)
        calls = min(_MOST_CALLS, max(len(trials), ceil(_REPLAY_S / max(once_s, 1e-6))))
        graph = self._record([trial.run for trial in islice(cycle(trials), calls)])
        samples = self._sample(lambda: self._elapsed_s(graph.replay) / calls, budget_s)
        return summarize(samples, method="graph", sets=len(trials))

    def _swept_graph(self, trials: Sequence[Trial], budget_s: float) -> Timing:
        runs = [trial.run for trial in islice(cycle(trials), _SWEPT_CALLS)]
        both = self._record([step for run in runs for step in (self._sweep_cache, run)])
        alone = self._record([self._sweep_cache] * _SWEPT_CALLS)

        def sample() -> float:
            return (self._elapsed_s(both.replay) - self._elapsed_s(alone.replay)) / _SWEPT_CALLS

        return summarize(self._sample(sample, budget_s), method="graph_swept", sets=len(trials))

    def _eager(self, trials: Sequence[Trial], swept: bool, budget_s: float) -> Timing:
        rotation = cycle(trials)
        once_s = self._elapsed_s(trials[0].run)
        calls = 1 if swept else min(50, max(1, ceil(2e-4 / max(once_s, 1e-6))))

        def burst() -> None:
            for trial in islice(rotation, calls):
                trial.run()

        def sample() -> float:
            if swept:
                self._sweep_cache()
            return self._elapsed_s(burst) / calls

        return summarize(self._sample(sample, budget_s), method="events", sets=len(trials))

    def _sweep_cache(self) -> None:
        # Reading leaves no dirty lines that the timed kernel would have to write back.
        torch.sum(self._sweep, dim=0, out=self._swept)

    def _record(self, runs: Sequence[Callable[[], object]]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            for run in runs:
                run()
        graph.replay()
        torch.cuda.synchronize()
        return graph

    def _elapsed_s(self, run: Callable[[], object]) -> float:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    def _sample(self, once: Callable[[], float], budget_s: float) -> list[float]:
        once()
        samples: list[float] = []
        until = perf_counter() + budget_s
        while len(samples) < _FEWEST_SAMPLES or (perf_counter() < until and len(samples) < _MOST_SAMPLES):
            samples.append(once())
        return samples
