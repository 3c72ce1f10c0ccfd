"""All-reduce between the GPUs of this machine: one process per GPU, NCCL through torch.distributed.

All sizes of one number of GPUs are timed in one go, because starting the processes takes longer than timing.
"""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from time import perf_counter

import torch
import torch.distributed
import torch.multiprocessing

from kvwall.validate.kernels.case import Case
from kvwall.validate.timing import Timing, summarize

SIZES_BYTES = (4096, 65536, 524288, 1048576, 4194304, 16777216, 67108864, 268435456)

_CALLS = 20
_SAMPLES = 12


def time_case(case: Case, device: str) -> Timing:
    """Time of one all-reduce of ``message_bytes`` per rank over ``num_gpus`` ranks, the slowest rank's."""
    samples = _all_sizes(case.size("num_gpus"), device, case.message_bytes or 0)
    return summarize(samples[str(case.message_bytes)], method="events", sets=1)


@cache
def _all_sizes(ranks: int, device: str, extra_bytes: int) -> dict[str, list[float]]:
    """Seconds per call, by size; a size outside ``SIZES_BYTES`` is timed alone."""
    sizes = SIZES_BYTES if extra_bytes in SIZES_BYTES else (extra_bytes,)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_rank, args=(ranks, device, sizes, folder), nprocs=ranks)
        found: dict[str, list[float]] = json.loads((Path(folder) / "seconds.json").read_text())
    return found


def _rank(rank: int, ranks: int, device: str, sizes: tuple[int, ...], folder: str) -> None:
    on_gpu = device == "cuda"
    if on_gpu:
        torch.cuda.set_device(rank)
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo", init_method=meeting, rank=rank, world_size=ranks)
    found = {str(size): _slowest(_samples(size, device), device) for size in sizes}
    if rank == 0:
        (Path(folder) / "seconds.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _samples(size_bytes: int, device: str) -> list[float]:
    message = torch.ones(max(1, size_bytes // 2), dtype=torch.bfloat16, device=device)
    for _ in range(5):
        torch.distributed.all_reduce(message)
    ranks = torch.distributed.get_world_size()
    expected = float(ranks) ** 5
    if not torch.allclose(message[:1].float(), torch.tensor(expected, device=device), rtol=1e-2):
        raise RuntimeError(f"all-reduce of {size_bytes} bytes is wrong: {float(message[0])} for {expected}")
    message.zero_()  # sums of sums would overflow
    samples = []
    for _ in range(_SAMPLES):
        _wait(device)
        torch.distributed.barrier()
        started = perf_counter()
        for _ in range(_CALLS):
            torch.distributed.all_reduce(message)
        _wait(device)
        samples.append((perf_counter() - started) / _CALLS)
    return samples


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _slowest(samples: list[float], device: str) -> list[float]:
    times = torch.tensor(samples, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(times, op=torch.distributed.ReduceOp.MAX)
    return [float(time) for time in times]
