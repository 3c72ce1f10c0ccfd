"""Kernels run under Triton's interpreter here; where torch or triton is missing these tests are skipped."""

from __future__ import annotations

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
