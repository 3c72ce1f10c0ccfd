"""SKIP's view of launches: total launch and queue time, and the batch at which a device stops waiting for its host.

Kernel ``j`` starts ``t_j`` after its launch call: the bare launch while the device is idle, plus a queue once launches
come faster than kernels end. TKLQT is the sum of all ``t_j`` (arXiv 2504.11750): flat while the host binds.
"""

from __future__ import annotations

import numpy as np

from kvwall.simulator.traffic import Array


def launch_and_queue_s(kernel_s: Array, call_s: float, launch_s: float) -> float:
    """TKLQT of kernels that run one after another.

    Call ``j`` starts at ``j call_s``; kernel ``j`` starts when its launch has arrived and kernel ``j - 1`` has ended.

    :param kernel_s: seconds of each kernel on the device, shape (n,)
    :param call_s: seconds of the host between two launch calls
    :param launch_s: seconds from a launch call to the start of a kernel on an idle device
    """
    free = 0.0
    total = 0.0
    for index, seconds in enumerate(np.asarray(kernel_s, dtype=np.float64)):
        called = index * call_s
        start = max(called + launch_s, free)
        total += start - called
        free = start + float(seconds)
    return total


def host_binds(kernel_s: Array, call_s: float) -> bool:
    """Whether the device waits for its host: kernels in all take less than their launch calls."""
    return float(np.sum(kernel_s)) < len(kernel_s) * call_s
