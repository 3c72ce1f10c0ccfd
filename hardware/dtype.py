"""Number formats that a device's units compute in."""

from __future__ import annotations

from typing import Literal

Dtype = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4", "int4"]
