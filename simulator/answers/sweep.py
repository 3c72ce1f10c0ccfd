"""``kvwall sweep``: a whole study as a table of Parquet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Answer
from kvwall.simulator.sweeping.study import Study, chunks, read_study
from kvwall.simulator.sweeping.workers import here, on_cluster

if TYPE_CHECKING:
    import pyarrow as pa

    from kvwall.simulator.sweeping.store import Store

#: Rows of one part: about 50 MB of columns while it is priced.
CHUNK_POINTS = 1 << 18


class SweepAnswer(Answer):
    """What was written.

    :ivar points: rows of the table
    :ivar resumed: rows that an earlier, interrupted run had written
    :ivar parts: files, or parts of the one file
    """

    study: str
    output: str
    fingerprint: str
    points: int
    combinations: int
    resumed: int
    parts: int
    seconds: float
    points_per_s: float


def sweep(
    study: Study | Path,
    output: Path,
    *,
    engine: Literal["local", "dask"] = "local",
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SweepAnswer:
    """Price every point of ``study`` and write it to ``output``, going on where an interrupted run stopped.

    :param output: a folder of parts, or one file that ends in ``.parquet``
    :param engine: ``local``, or ``dask`` with the address of a scheduler
    :param progress: takes points done and points in all
    :raises InputError: bad study, output of another study, no pyarrow, an unreachable scheduler, a full disk
    """
    try:
        from kvwall.simulator.sweeping.store import Store
    except ImportError:
        raise InputError("kvwall sweep: needs pyarrow (pip install 'kvwall[distributed]')") from None
    if (engine == "dask") != (scheduler is not None):
        raise InputError("--engine dask needs --scheduler tcp://HOST:PORT, and only that engine takes one")
    where, asked = ("a study", study) if isinstance(study, Study) else (str(study), read_study(study))
    started = time.perf_counter()
    parts = chunks(asked, CHUNK_POINTS)
    store = Store(output, asked)
    todo = [part for part in parts if not store.has(part.number)]
    resumed = asked.points - sum(part.points for part in todo)
    size = {part.number: part.points for part in todo}
    done = resumed
    tables = here(todo) if scheduler is None else on_cluster(todo, scheduler)
    refusals: dict[int, str] = {}
    for number in _kept(store, _watched(tables, refusals)):
        done += size[number]
        if progress is not None:
            progress(done, asked.points)
    store.close(len(parts))
    seconds = time.perf_counter() - started
    lost = sum(size[number] for number in refusals)
    told = (f"{lost:,} of {asked.points:,} points refused, as {next(iter(refusals.values()))!r}",) if lost else ()
    return SweepAnswer(
        warnings=told,
        study=where,
        output=str(output),
        fingerprint=asked.fingerprint,
        points=asked.points,
        combinations=len(asked.combinations),
        resumed=resumed,
        parts=len(parts),
        seconds=seconds,
        points_per_s=(asked.points - resumed) / seconds,
    )


def _watched(tables: Iterable[tuple[int, pa.Table]], refusals: dict[int, str]) -> Iterator[tuple[int, pa.Table]]:
    """``tables`` as they come; why a part was refused is put into ``refusals``."""
    for number, table in tables:
        reason = table.column("refused")[0].as_py()  # a part is of one combination
        if reason is not None:
            refusals[number] = reason
        yield number, table


def _kept(store: Store, tables: Iterable[tuple[int, pa.Table]]) -> Iterator[int]:
    """Numbers of the parts that are written; one is compressed while the next is priced."""
    with ThreadPoolExecutor(1) as pool:
        pending: tuple[int, Future[None]] | None = None
        for number, table in tables:
            if pending is not None:
                pending[1].result()
                yield pending[0]
            pending = number, pool.submit(store.put, number, table)
        if pending is not None:
            pending[1].result()
            yield pending[0]
