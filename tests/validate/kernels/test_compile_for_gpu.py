"""The kernels of the GPU suite go through Triton's compiler for real GPUs, which needs none.

The interpreter accepts programs that the compiler refuses, so passing there is not enough. Each compiler runs in a
process of its own, because the interpreter is chosen when triton is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

_SCRIPT = """
import json, sys
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

arch = int(sys.argv[1])

class NoGpu:
    def get_current_target(self): return GPUTarget("cuda", arch, 32)
    def get_current_device(self): return 0
    def get_current_stream(self, device): return 0

driver.set_active(NoGpu())
launch, shared = JITFunction.run, {}

def compile_only(self, *arguments, grid, warmup, **options):
    made = launch(self, *arguments, grid=grid, warmup=True, **options)
    shared[self.__name__] = max(shared.get(self.__name__, 0), made.metadata.shared)

JITFunction.run = compile_only
from kvwall.validate.kernels import split_softmax
split_softmax.compute_dtype = lambda tensor: split_softmax._COMPUTE[tensor.dtype]
from kvwall.validate.correctness import small_case
from kvwall.validate.kernels.case import TRITON_PATTERNS, load_pattern
from kvwall.validate.kernels.trial import Source
from kvwall.validate.environment import Environment
from kvwall.validate.suite_gpu import gpu_families

here = Environment.model_construct(capability=f"{arch // 10}.{arch % 10}", count=1, libraries={})
seen = set()
for case in (case for family in gpu_families(here) for case in family if case.pattern in TRITON_PATTERNS):
    kind = (case.pattern, case.kv_dtype, case.head_dim) if arch == 90 else case.pattern
    if kind not in seen:
        seen.add(kind)
        load_pattern(case.pattern).prepare(small_case(case), Source("cpu", 0)).run()
print(json.dumps({"kinds": len(seen), "shared": shared}))
"""

#: Shared memory that a program may take on the smallest GPU of the architecture.
_LARGEST_SHARED_BYTES = {80: 99 * 1024, 90: 227 * 1024}
_KERNELS = {
    "_append", "_gather", "_int4_split", "_kivi_split", "_lowrank_split", "_merge", "_mla_split", "_paged_split",
    "_score_pages",
}  # fmt: skip


@pytest.mark.parametrize("architecture", [80, 90])
def test_all_kernels_compile_for_a_gpu_and_fit_on_its_chip(architecture: int, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(architecture)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert set(found["shared"]) == _KERNELS
    assert max(found["shared"].values()) <= _LARGEST_SHARED_BYTES[architecture]
