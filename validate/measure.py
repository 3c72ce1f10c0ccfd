"""``kvwall measure``: run real kernels on this machine and keep what they took."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from kvwall.hardware.device import DEVICES, Device
from kvwall.hardware.document import read_document
from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Answer, Part
from kvwall.simulator.cli.output import save
from kvwall.validate.device_sheet import DEVICE_YAML, is_measured, named_in, raised, write_sheet
from kvwall.validate.environment import Environment, clocks, environment, has_triton
from kvwall.validate.kernels.case import Case
from kvwall.validate.other_work import BUSY, others_share, used_until_now
from kvwall.validate.points_file import UNSTEADY, PointsFile, write_table
from kvwall.validate.suite import BUDGETS_S, CPU_TIME_LIMIT_S, SHEET_PART, TIME_LIMITS_S, cannot_run, suite_cases

POINTS_JSONL = "points.jsonl"
POINTS_CSV = "points.csv"
ENVIRONMENT_JSON = "environment.json"
RUNS_JSONL = "runs.jsonl"


class Failure(Part):
    """A case without a time."""

    case: str
    why: str


class MeasureAnswer(Answer):
    """What a campaign has measured.

    :ivar gpu: the device as its points name it
    :ivar device_yaml: the data sheet beside the points; ``None`` where the library describes the machine
    :ivar points: rows of ``points_csv``, earlier runs included
    :ivar resumed: cases that an earlier run had measured
    :ivar remaining: cases for which there was no time; the same command goes on with them
    :ivar left_out: cases that this machine cannot run, by reason
    :ivar smaller: points at a smaller shape than asked, because memory was short
    :ivar flagged: points faster than the data sheet allows, by flag
    """

    device: str
    gpu: str
    device_yaml: str | None
    suite: str
    folder: str
    points_csv: str
    points: int
    measured: int
    resumed: int
    remaining: int
    smaller: int
    left_out: dict[str, int]
    flagged: dict[str, int]
    failed: tuple[Failure, ...]
    seconds: float
    environment: Environment

    @property
    def says_no(self) -> str | None:
        """Why nothing was measured."""
        if self.points:
            return None
        why = self.failed[0].why if self.failed else next(iter(self.left_out), "no time was left")
        return f"no point was measured ({why})"


def measure(
    folder: Path,
    device: str = "cuda",
    suite: str = "standard",
    *,
    time_limit_s: float | None = None,
    name: str | None = None,
    retry: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> MeasureAnswer:
    """Measure ``suite`` on ``device`` and keep the points in ``folder``, where an interrupted campaign goes on.

    :param folder: made if missing; gets ``points.jsonl`` (one line as soon as a point is measured), ``points.csv``
        (the columns of ``kvwall predict``), ``environment.json``, ``runs.jsonl`` and, of a machine that the library
        does not describe, ``device.yaml``
    :param device: ``cuda`` or ``cpu``
    :param suite: ``quick``, ``standard`` or ``tiny``
    :param time_limit_s: seconds after which no further case is started; the default depends on the suite
    :param name: what this device is: an id of the device library, or the path of a data sheet; unless given, the
        library's if it describes the machine, else one that is measured and kept in ``folder``
    :param retry: try again what failed before
    :param report: takes a line for each point
    :raises InputError: unknown suite or device, no torch, no GPU, or a folder of another device or software
    """
    started, before = perf_counter(), used_until_now()
    here = environment(device)
    cases = suite_cases(suite, here)
    _make(folder)
    here = here.model_copy(update={"gpu": named_in(folder, here, name)})
    points = _opened(folder, here)
    sheet = _sheet(folder, here, name, report)
    reasons = {case.key: cannot_run(case, here, has_triton()) for case in cases}
    able = [case for case in cases if reasons[case.key] is None]
    again = {key for key, point in points.points.items() if point.get("flag") == UNSTEADY}
    again |= {key for key, point in points.points.items() if retry and point.get("failed")}
    done = points.points.keys() - again
    todo = [case for case in able if case.key not in done]
    if time_limit_s is None:
        time_limit_s = min(TIME_LIMITS_S[suite], CPU_TIME_LIMIT_S if device == "cpu" else float("inf"))
    given = None if here.gpu == DEVICE_YAML and is_measured(sheet) else sheet
    try:
        remaining, warnings = _run(here, given, todo, points, started + time_limit_s, report)
    finally:
        if here.gpu == DEVICE_YAML:
            raised(folder / DEVICE_YAML, _rows(points))
        write_table(folder / POINTS_CSV, _rows(points))
        others = others_share(before, used_until_now())
        _note_run(folder, here, perf_counter() - started, others)
    rows = _rows(points)
    return MeasureAnswer(
        device=device,
        gpu=here.gpu,
        device_yaml=str(folder / DEVICE_YAML) if here.gpu == DEVICE_YAML else None,
        suite=suite,
        folder=str(folder),
        points_csv=str(folder / POINTS_CSV),
        points=len(rows),
        measured=sum(1 for case in todo if "latency_us" in points.points.get(case.key, {})),
        resumed=len(able) - len(todo),
        remaining=len(remaining),
        smaller=sum(1 for row in rows if "asked_" in str(row["extra"])),
        left_out=dict(Counter(reason for reason in reasons.values() if reason)),
        flagged=dict(Counter(str(row["flag"]) for row in rows if row["flag"])),
        failed=tuple(
            Failure(case=key, why=str(point["failed"])) for key, point in points.points.items() if point.get("failed")
        ),
        seconds=perf_counter() - started,
        environment=here,
        warnings=(*warnings, *_warnings(device, others, rows)),
    )


def _warnings(device: str, others: float | None, rows: list[dict[str, object]]) -> Iterator[str]:
    if device == "cpu" and others is not None and others > BUSY:
        yield f"other programs took {others:.0%} of the processors: times are too long, a quiet machine tells more"
    uneven = sum(row["flag"] == UNSTEADY for row in rows)
    if uneven:
        yield f"{uneven} times spread by more than themselves: fits leave them out, the same command takes them again"


def _sheet(folder: Path, here: Environment, name: str | None, report: Callable[[str], None]) -> Device:
    """The data sheet of the machine: the library's, or the one in ``folder``, which is measured if it is missing."""
    path = folder / DEVICE_YAML
    if here.gpu != DEVICE_YAML:
        return DEVICES.load(here.gpu)
    if path.exists():
        return read_document(path, Device)
    from kvwall.validate.peaks import measured_peaks

    report("peaks of this machine, which no data sheet of kvwall describes")
    peaks = measured_peaks(here.device, here.memory_bytes, here.cache_bytes, SHEET_PART * BUDGETS_S[here.device])
    return write_sheet(path, here, peaks, name)


def _run(
    here: Environment,
    sheet: Device | None,
    todo: list[Case],
    points: PointsFile,
    until: float,
    report: Callable[[str], None],
) -> tuple[list[Case], list[str]]:
    """Measure ``todo``; what is left of it, and warnings."""
    if not todo:
        return [], []
    from kvwall.validate.campaign import Campaign, ContextLostError
    from kvwall.validate.correctness import Checker
    from kvwall.validate.timing import CpuClock, GpuClock

    clock = GpuClock(here.cache_bytes) if here.device == "cuda" else CpuClock(here.cache_bytes)
    seed = int.from_bytes(os.urandom(4), "big")
    campaign = Campaign(here, clock, Checker(here.device, seed), seed, BUDGETS_S[here.device], sheet)
    try:
        remaining = campaign.run(todo, points, until, report)
    except ContextLostError as error:
        remaining = [case for case in todo if case.key not in points.points]
        return remaining, [f"the device stopped working ({error}): run the same command again to go on without it"]
    if remaining:
        return remaining, [f"{len(remaining)} cases are left: run the same command again to go on"]
    return [], []


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder ({error.strerror or error})") from None


def _opened(folder: Path, here: Environment) -> PointsFile:
    """The points of ``folder``."""
    path = folder / ENVIRONMENT_JSON
    if path.exists():
        differs = here.differs_from(read_document(path, Environment))
        if differs:
            raise InputError(f"{folder}: holds points of {differs}; give another folder with -o")
    else:
        save(path, here.model_dump_json(indent=2) + "\n")
    return PointsFile(folder / POINTS_JSONL)


def _rows(points: PointsFile) -> list[dict[str, object]]:
    order = ("kernel", "framework", "dtype", "kv_dtype", "key")
    measured = [point for point in points.points.values() if "latency_us" in point]
    return sorted(measured, key=lambda point: [str(point.get(name)) for name in order])


def _note_run(folder: Path, here: Environment, seconds: float, others: float | None) -> None:
    run = {
        "started": here.started,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "other_programs": None if others is None else round(others, 3),
        "clocks_before": here.clocks,
        "clocks_after": clocks() if here.device == "cuda" else "unknown",
    }
    with (folder / RUNS_JSONL).open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")
