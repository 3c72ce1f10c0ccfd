"""A kernel is checked on the device itself, against float64, before any of its times is kept."""

from __future__ import annotations

from dataclasses import replace

import torch

from kvwall.validate.kernels.case import Case, load_pattern
from kvwall.validate.kernels.trial import Source

#: Largest ||out - reference|| / ||reference|| by the dtype that a kernel computes in.
TOLERANCES = {"fp32": 2e-3, "fp16": 5e-3, "bf16": 2e-2, "fp8": 5e-2, "int8": 0.0}

#: A check is small: a reference in float64 is slow and large.
_MOST = {"batch": 2, "q_len": 96, "kv_len": 397, "m": 67, "n": 256, "k": 1024, "message_bytes": 2**16}


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """``||found - expected|| / ||expected||`` in float64; infinite where shapes differ or a number is missing."""
    if found.shape != expected.shape:
        return float("inf")
    difference = float(torch.linalg.vector_norm(found.double().cpu() - expected.double().cpu()))
    size = float(torch.linalg.vector_norm(expected.double()))
    error = difference / size if size else difference
    return error if error == error else float("inf")


def small_case(case: Case) -> Case:
    """``case`` with odd, small dimensions, in the dtype in which its pattern can be compared."""
    sizes = {name: min(getattr(case, name), most) for name, most in _MOST.items() if getattr(case, name) is not None}
    if case.q_len is not None and case.q_len == case.kv_len:
        sizes["kv_len"] = sizes["q_len"]
    # A budget beyond the context would choose everything, and prove nothing of the choice.
    options = tuple((name, min(int(value), 96) if name == "budget" else value) for name, value in case.options)
    if case.pattern == "gemm" and case.dtype in ("fp8", "int8"):
        sizes["m"] = max(32, sizes["m"] // 16 * 16)
    if case.pattern == "window_scores":  # in 16 bits two scores are often equal, and either may be kept
        return replace(case, dtype="fp32", kv_dtype="fp32", options=options, **sizes)
    return replace(case, options=options, **sizes)


def error_of(case: Case, device: str, seed: int) -> float:
    """Error of one call on fresh random inputs; the output is poisoned first, so an element left out shows."""
    trial = load_pattern(case.pattern).prepare(case, Source(device, seed))
    if trial.output is not None and trial.output.is_floating_point():
        trial.output.fill_(float("nan"))
    found = trial.run()
    if device == "cuda":
        torch.cuda.synchronize()
    return relative_error(found, trial.reference())


class Checker:
    """Checks each kind of kernel once.

    :ivar device: where it runs
    """

    def __init__(self, device: str, seed: int) -> None:
        self.device = device
        self._seed = seed
        self._known: dict[tuple[object, ...], str | None] = {}

    def wrong(self, case: Case) -> str | None:
        """What is wrong with the kernel of ``case``, or ``None``."""
        heads = (case.n_q_heads, case.n_kv_heads, case.head_dim)
        kind = (case.pattern, case.framework, case.dtype, case.kv_dtype, *heads, case.q_len == 1, case.options)
        if kind not in self._known:
            small = small_case(case)
            error, allowed = error_of(small, self.device, self._seed), TOLERANCES[small.dtype]
            self._known[kind] = None if error <= allowed else f"wrong result: error {error:.2g}, allowed {allowed:g}"
        return self._known[kind]
