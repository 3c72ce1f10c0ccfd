"""The loop over the cases of a campaign: check, time, make smaller where memory is short, keep each point."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Any

import torch

from kvwall.hardware.device import Device
from kvwall.validate.correctness import Checker
from kvwall.validate.environment import Environment
from kvwall.validate.kernels.case import Case, load_pattern
from kvwall.validate.kernels.trial import DTYPES, Source, Trial
from kvwall.validate.points_file import COLUMNS, UNSTEADY, PointsFile
from kvwall.validate.timing import CpuClock, GpuClock, Timing, sets_for

#: Halvings of a case before it is given up.
_MOST_HALVINGS = 8

#: Patterns whose bytes do not pass through the memory of the device, or not only.
_NOT_MEMORY = frozenset({"host_copy", "host_gather", "host_rows", "all_reduce", "launch"})


#: A time may undercut the data sheet by this much before it counts as impossible: clocks and peaks are rounded.
_SLACK = 1.02

#: Spread (10th to 90th percentile, as a part of the median) above which a time is left out of fits.
WIDEST_SPREAD = 1.0


class ContextLostError(Exception):
    """The device refuses all further work; only a new process can go on."""


@dataclass(frozen=True)
class Campaign:
    """What the loop needs.

    :ivar seed: of the random inputs
    :ivar budget_s: seconds of samples of one point
    :ivar device: data sheet, by which a time is seen to be impossible
    """

    here: Environment
    clock: CpuClock | GpuClock
    checker: Checker
    seed: int
    budget_s: float
    device: Device | None = None

    def run(self, cases: list[Case], points: PointsFile, until: float, report: Callable[[str], None]) -> list[Case]:
        """Measure ``cases`` until the clock says ``until``; returns those for which there was no time.

        :raises ContextLostError: the device died; the case that killed it is kept as failed
        """
        for index, case in enumerate(cases):
            if perf_counter() > until:
                return cases[index:]
            point = self.point(case)
            points.append(point)
            told = point.get("failed") or f"{point['latency_us']:.2f} us (spread {point['spread']:.0%})"
            report(f"{index + 1}/{len(cases)} {describe(case)}: {told}")
            if point.get("lost"):
                raise ContextLostError(str(point["failed"]))
        return []

    def point(self, case: Case) -> dict[str, Any]:
        """The measured point of ``case``, or why there is none under ``failed``."""
        asked, smaller = case, 0
        while True:
            try:
                wrong = None if case.pattern == "all_reduce" else self.checker.wrong(case)
                return {"key": asked.key, "failed": wrong} if wrong else self._measured(asked, case)
            except Exception as error:  # whatever one kernel does, the others are measured
                failed, short = one_line(error), is_out_of_memory(error)
                lost = "CUDA error" in failed and not short and not device_answers()
            # Outside the handler: the error holds the frames, and with them the memory that was too much.
            gc.collect()
            if self.here.device == "cuda" and not lost:
                torch.cuda.empty_cache()
            half = case.smaller if short and smaller < _MOST_HALVINGS else None
            if half is None:
                return {"key": asked.key, "failed": failed, "lost": lost}
            case, smaller = half, smaller + 1

    def _measured(self, asked: Case, case: Case) -> dict[str, Any]:
        pattern = load_pattern(case.pattern)
        if hasattr(pattern, "time_case"):
            return self._row(asked, case, pattern.time_case(case, self.here.device), None)
        first: Trial = pattern.prepare(case, Source(self.here.device, self.seed))
        cold = case.cache == "cold"
        sets = sets_for(first.footprint_bytes, self.clock.cache_bytes, self.clock.free_bytes) if cold else 1
        more = [pattern.prepare(case, Source(self.here.device, self.seed + index)) for index in range(1, sets)]
        timing = self.clock.time([first, *more], cold=cold, budget_s=self.budget_s)
        return self._row(asked, case, timing, first)

    def _row(self, asked: Case, case: Case, timing: Timing, trial: Trial | None) -> dict[str, Any]:
        about = {"pattern": case.pattern, **dict(case.options)}
        about |= {"spread": f"{timing.spread:.3f}", "samples": timing.samples, "method": timing.method}
        about |= {"sets": timing.sets}
        if trial is not None:
            about |= {"moved_bytes": f"{trial.moved_bytes:.0f}", "flops": f"{trial.flops:.0f}"}
        about |= {
            f"asked_{name}": getattr(asked, name) for name in vars(case) if getattr(asked, name) != getattr(case, name)
        }
        columns = {name: value for name, value in vars(case).items() if name in COLUMNS}
        return {
            "key": asked.key,
            **columns,
            "source": f"kvwall measure {self.here.kvwall}",
            "source_version": library_version(case, self.here),
            "gpu": self.here.gpu,
            "kernel_source": case.pattern,
            "extra": ";".join(f"{name}={value}" for name, value in about.items()),
            "latency_us": timing.median_s * 1e6,
            "spread": timing.spread,
            **rates(case, timing.median_s, trial),
            "flag": flag_of(case, timing, trial, self.device),
        }


def library_version(case: Case, here: Environment) -> str:
    """Version of the library whose kernel ran; for kvwall's own, with that of the compiler."""
    if case.framework == "kvwall":
        return f"{here.kvwall} (triton {here.triton})"
    return here.libraries.get(case.framework, here.torch)


def rates(case: Case, seconds: float, trial: Trial | None) -> dict[str, float]:
    """What a point says of the machine's peaks: a cold one of the memory, any of the arithmetic."""
    if trial is None or case.pattern in _NOT_MEMORY:
        return {}
    through_memory = trial.moved_bytes - trial.written_bytes if case.cache == "cold" else 0.0
    return {"memory_bytes_per_s": through_memory / seconds, "flops_per_s": trial.flops / seconds}


def flag_of(case: Case, timing: Timing, trial: Trial | None, device: Device | None) -> str:
    """Why a time is left out of fits: faster than the data sheet allows, or too uneven to mean anything."""
    seconds = timing.median_s
    if device is not None and trial is not None and case.pattern not in _NOT_MEMORY:
        cached = min(trial.written_bytes, device.l2.capacity_bytes if device.l2 else 0.0)
        if (trial.moved_bytes - cached) / seconds > device.hbm.bandwidth_bytes_per_s * _SLACK:
            return "l2_resident" if case.cache == "warm" else "above_hbm_peak"
        peak = device.matrix_flops_per_s(case.dtype) if case.dtype in DTYPES else inf  # type: ignore[arg-type]
        if trial.flops / seconds > peak * _SLACK:
            return "above_peak_flops"
    return UNSTEADY if timing.spread > WIDEST_SPREAD else ""


def describe(case: Case) -> str:
    """A case in a few words."""
    names = ("batch", "q_len", "kv_len", "n_q_heads", "n_kv_heads", "head_dim", "m", "n", "k", "num_gpus")
    sizes = [f"{name}={getattr(case, name)}" for name in (*names, "message_bytes") if getattr(case, name) is not None]
    kinds = [case.dtype] if case.kv_dtype in (None, case.dtype) else [case.dtype, f"kv {case.kv_dtype}"]
    return " ".join([case.framework, case.pattern, *kinds, *sizes, case.cache])


def device_answers() -> bool:
    """Whether the GPU still works after an error; after an illegal access nothing does until the process ends."""
    try:
        torch.cuda.synchronize()
        return bool(torch.ones(1, device="cuda").item() == 1.0)
    except Exception:
        return False


def one_line(error: BaseException) -> str:
    """The first line of an error, with its class."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the device or of the host was too small."""
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        "out of memory" in text or "can't allocate memory" in text or "cannot allocate memory" in text
    )
