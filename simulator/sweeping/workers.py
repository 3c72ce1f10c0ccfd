"""Who prices the chunks of a sweep: this process, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from kvwall.hardware.errors import InputError
from kvwall.simulator.sweeping.pricing import chunk_table
from kvwall.simulator.sweeping.study import Chunk

if TYPE_CHECKING:
    import pyarrow as pa

#: Seconds to reach a scheduler.
_REACH_S = 10
#: Chunks on their way for each thread of the cluster, so that no worker waits and no result piles up.
_AHEAD = 3
#: How often a chunk may lose its worker before its loss is taken for the chunk's fault.
_LOSSES = 10


def here(chunks: Iterable[Chunk]) -> Iterator[tuple[int, pa.Table]]:
    """Price chunks one after another in this process."""
    for chunk in chunks:
        yield chunk.number, chunk_table(chunk)


def on_cluster(chunks: Iterable[Chunk], scheduler: str) -> Iterator[tuple[int, pa.Table]]:
    """Price chunks on the Dask cluster at ``scheduler``; a chunk whose worker is lost is priced by another.

    :raises InputError: dask is not installed, ``scheduler`` is no address, or none answers there
    """
    try:
        from distributed import Client, as_completed
        from distributed.comm.addressing import get_address_host_port
    except ImportError:
        raise InputError("--engine dask: is not installed (pip install 'kvwall[distributed]')") from None
    try:  # a client that fails on its address prints a traceback when it is collected
        get_address_host_port(scheduler)
    except ValueError as error:
        raise InputError(f"--scheduler {scheduler}: write tcp://HOST:PORT ({error})") from None
    try:
        client = Client(scheduler, timeout=_REACH_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"--scheduler {scheduler}: cannot be reached ({type(error).__name__})") from None
    with client:
        waiting = iter(chunks)
        room = _AHEAD * max(1, sum(client.nthreads().values()))

        def sent() -> Iterator[object]:
            for chunk in waiting:
                yield client.submit(numbered_table, chunk, key=f"kvwall-{chunk.number}", retries=_LOSSES, pure=False)

        ahead = sent()
        first = list(islice(ahead, room))
        flight = as_completed(first, loop=client.loop)
        for future in flight:
            result = future.result()
            future.release()
            following = next(ahead, None)
            if following is not None:
                flight.add(following)
            yield result


def numbered_table(chunk: Chunk) -> tuple[int, pa.Table]:
    """A chunk's number and its rows; what a worker runs."""
    return chunk.number, chunk_table(chunk)
