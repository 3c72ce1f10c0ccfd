"""How calls are timed: warm, cold by rotation, cold by sweeping; the GPU is a stand-in with a made-up clock."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kvwall.validate import timing as timing_module  # noqa: E402
from kvwall.validate.kernels.trial import Trial  # noqa: E402
from kvwall.validate.timing import MOST_SETS, CpuClock, GpuClock, sets_for, summarize  # noqa: E402

CALL_S, SWEEP_S, LAUNCH_S = 30e-6, 80e-6, 5e-6


class _Gpu:
    """Work is a number of seconds; a graph remembers it, and events read it off."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.recording: list[float] | None = None
        self.calls = 0

    def work(self, seconds: float) -> None:
        if self.recording is not None:
            self.recording.append(seconds)
        else:
            self.now_s += seconds + LAUNCH_S

    def module(self) -> SimpleNamespace:
        gpu = self

        class Graph:
            steps: list[float]

            def replay(self) -> None:
                gpu.now_s += sum(self.steps)

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                self.at_s = gpu.now_s

            def synchronize(self) -> None:
                assert self.at_s <= gpu.now_s

            def elapsed_time(self, end: Event) -> float:
                return (end.at_s - self.at_s) * 1e3

        @contextmanager
        def graph(made: Graph) -> Any:
            gpu.recording = made.steps = []
            yield
            gpu.recording = None

        return SimpleNamespace(
            CUDAGraph=Graph, Event=Event, graph=graph, synchronize=lambda: None, mem_get_info=lambda: (8e10, 8e10)
        )


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> _Gpu:
    made = _Gpu()
    proxy = SimpleNamespace(
        cuda=made.module(),
        float32=torch.float32,
        ones=lambda count, **_: torch.ones(1),
        zeros=lambda shape, **_: torch.zeros(()),
        sum=lambda *_, **__: made.work(SWEEP_S),
    )
    monkeypatch.setattr(timing_module, "torch", proxy)
    return made


def _trial(gpu: _Gpu, footprint_bytes: int, capturable: bool = True) -> Trial:
    buffer = torch.empty(footprint_bytes, dtype=torch.uint8)

    def run() -> Any:
        gpu.calls += 1
        gpu.work(CALL_S)
        return buffer

    return Trial(run, lambda: buffer, (buffer,), 0.0, 0.0, capturable=capturable)


def test_warm_calls_are_replayed_without_their_launches(gpu: _Gpu) -> None:
    found = GpuClock(1e6).time([_trial(gpu, 1000)], cold=False, budget_s=1e-3)
    assert (found.method, found.sets) == ("graph", 1)
    assert found.median_s == pytest.approx(CALL_S)


def test_sets_that_exceed_the_cache_are_rotated(gpu: _Gpu) -> None:
    trials = [_trial(gpu, 400_000) for _ in range(9)]
    found = GpuClock(1e6).time(trials, cold=True, budget_s=1e-3)
    assert (found.method, found.sets) == ("graph", 9)
    assert found.median_s == pytest.approx(CALL_S)


def test_small_inputs_follow_a_sweep_whose_time_is_taken_off(gpu: _Gpu) -> None:
    found = GpuClock(1e6).time([_trial(gpu, 1000)], cold=True, budget_s=1e-3)
    assert found.method == "graph_swept"
    assert found.median_s == pytest.approx(CALL_S)


def test_what_no_graph_can_hold_is_timed_by_events_with_its_launch(gpu: _Gpu) -> None:
    found = GpuClock(1e6).time([_trial(gpu, 1000, capturable=False)], cold=False, budget_s=1e-3)
    assert found.method == "events"
    assert found.median_s == pytest.approx(CALL_S + LAUNCH_S)
    swept = GpuClock(1e6).time([_trial(gpu, 1000, capturable=False)], cold=True, budget_s=1e-3)
    assert swept.median_s == pytest.approx(CALL_S + LAUNCH_S)


def test_what_turns_out_not_to_fit_a_graph_is_timed_by_events(gpu: _Gpu) -> None:
    trial = _trial(gpu, 1000)

    def waits() -> Any:
        if gpu.recording is not None:
            gpu.recording = None
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        return trial.run()

    found = GpuClock(1e6).time([replace(trial, run=waits)], cold=False, budget_s=1e-3)
    assert found.method == "events"


def test_a_call_faster_than_the_clock_is_an_error_not_a_zero() -> None:
    with pytest.raises(RuntimeError, match="not resolved: the median of 3 samples is 0 us"):
        summarize([0.0, 0.0, 1.0], method="graph", sets=1)


def test_the_median_and_its_spread() -> None:
    found = summarize([float(value) for value in range(1, 102)], method="clock", sets=1)
    assert (found.low_s, found.median_s, found.high_s, found.samples) == (11, 51, 91, 101)
    assert found.spread == pytest.approx(80 / 51)


@pytest.mark.parametrize(
    ("footprint", "free", "sets"),
    [
        (200e6, 8e10, 1),  # one set is three caches already
        (50e6, 8e10, 4),
        (10e6, 8e10, 16),
        (1e6, 8e10, 1),  # too many: sweep
        (10e6, 100e6, 1),  # no room: sweep
    ],
)
def test_sets_of_inputs_for_a_cold_cache(footprint: float, free: float, sets: int) -> None:
    found = sets_for(footprint, 50e6, free)
    assert found == sets <= MOST_SETS


def test_the_host_sweeps_its_cache_before_each_cold_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = CpuClock(1000.0), []
    clock._sweep = SimpleNamespace(sum=lambda: order.append("sweep"))
    trial = Trial(lambda: order.append("call"), lambda: None, (), 0.0, 0.0)
    found = clock.time([trial], cold=True, budget_s=0.0)
    assert order[:5] == ["call", "sweep", "call", "sweep", "call"]
    assert found.method == "clock"
    order.clear()
    clock.time([trial], cold=False, budget_s=0.0)
    assert set(order) == {"call"}
