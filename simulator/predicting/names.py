"""Spellings in tables that others wrote: number formats, kernels and devices by their many names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kvwall.hardware.device import DEVICES
from kvwall.hardware.dtype import Dtype
from kvwall.hardware.errors import InputError, UnknownNameError, canonical, suggestion
from kvwall.hardware.library import is_path

#: Number formats by their spellings, folded; a block format is fp8 with scales per block.
_DTYPES: dict[str, str] = {
    **dict.fromkeys(("bf16", "bfloat16", "torchbfloat16", "auto"), "bf16"),
    **dict.fromkeys(("fp16", "float16", "half", "f16", "torchfloat16", "16bit"), "fp16"),
    **dict.fromkeys(("fp32", "float32", "float", "f32", "torchfloat32"), "fp32"),
    **dict.fromkeys(("tf32",), "tf32"),
    **dict.fromkeys(("fp8", "float8", "fp8e4m3", "e4m3", "fp8e5m2", "float8e4m3fn", "fp8static", "w8a8fp8"), "fp8"),
    **dict.fromkeys(("fp8block", "fp8blockwise", "fp8128block", "fp8block128"), "fp8_block"),
    **dict.fromkeys(("int8", "i8", "uint8", "w8a8", "int8wo"), "int8"),
    **dict.fromkeys(("int4", "i4", "int4wo", "w4a16", "awq", "gptq"), "int4"),
    **dict.fromkeys(("fp4", "nvfp4", "mxfp4", "float4e2m1", "e2m1", "w4a16mxfp4"), "fp4"),
}

#: Bytes of one element.
BYTES: dict[str, float] = {
    "fp32": 4.0, "tf32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "fp8_block": 1.0, "int8": 1.0, "int4": 0.5,
    "fp4": 0.5,
}  # fmt: skip

#: Bytes of one element of what only a cache is stored in, its codes alone; KIVI adds a scale and a zero point a group.
PACKED_BYTES: dict[str, float] = {"int2": 0.25, "kivi2": 0.25, "kivi4": 0.5}

Kind = Literal["attention", "gemm", "collective", "elementwise", "copy"]

#: Kernels that can be predicted, and what kind of kernel each is.
KERNELS: dict[str, Kind] = {
    "decode_attention": "attention",
    "prefill_attention": "attention",
    "mla_decode": "attention",
    "mla_prefill": "attention",
    "gemm": "gemm",
    "all_reduce": "collective",
    "all_gather": "collective",
    "reduce_scatter": "collective",
    "alltoall": "collective",
    "send_recv": "collective",
    "quantize": "elementwise",
    "host_copy": "copy",
    "memory_copy": "elementwise",
    "launch": "elementwise",
    "sparse_decode": "attention",
    "lowrank_decode": "attention",
    "rematerialize": "attention",
    "evict": "attention",
    "host_gather": "copy",
}

#: Kernels whose shape no column tells: a row states the bytes they move and their operations in ``extra``.
DESCRIBED = ("launch", "sparse_decode", "lowrank_decode", "rematerialize", "evict", "host_gather")

_KERNEL_ALIASES: dict[str, str] = {
    **{canonical(name): name for name in KERNELS},
    **dict.fromkeys(("decode", "attentiondecode", "generationattention", "pageddecode"), "decode_attention"),
    **dict.fromkeys(("prefill", "attentionprefill", "contextattention"), "prefill_attention"),
    **dict.fromkeys(("mladecodeattention", "generationmla"), "mla_decode"),
    **dict.fromkeys(("mlaprefillattention", "contextmla"), "mla_prefill"),
    **dict.fromkeys(("matmul", "linear", "mm"), "gemm"),
    **dict.fromkeys(("allreduce", "customallreduce", "ncclallreduce"), "all_reduce"),
    **dict.fromkeys(("allgather", "ncclallgather"), "all_gather"),
    **dict.fromkeys(("reducescatter", "ncclreducescatter"), "reduce_scatter"),
    **dict.fromkeys(("all2all", "alltoall", "ncclalltoall"), "alltoall"),
    **dict.fromkeys(("sendrecv", "p2p", "sendreceive", "send"), "send_recv"),
    **dict.fromkeys(("quantise", "quant", "quantcomputescale", "quantscalematrix"), "quantize"),
    **dict.fromkeys(("hostcopy", "memcpy", "h2d", "d2h", "pciecopy"), "host_copy"),
}

#: Cards that a bridge joins in pairs, by what tables call the pair; boards of the SXM form have no bridge.
_BRIDGED = {"a100": "a100-pcie-80gb", "h100": "h100-nvl-94gb"}

#: What a name of a whole machine adds to the name of its device.
_SYSTEM_SUFFIX = re.compile(r"[ _-]?(pairwise[ _-]?nvlink|dgx|hgx|node|server)$", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """What a name means, or why it means nothing.

    :ivar name: the canonical name, empty where there is none
    :ivar why: the reason, empty where there is a name
    """

    name: str
    why: str = ""


def dtype_of(text: str) -> Named:
    """The number format that ``text`` spells."""
    found = _DTYPES.get(canonical(text))
    if found is None:
        return Named("", f"unknown dtype {text!r}{suggestion(text, BYTES)}")
    return Named(found)


def cache_format_of(text: str) -> Named:
    """The format of a cache that ``text`` spells: a number format, or a packed one."""
    folded = canonical(text)
    if folded in PACKED_BYTES:
        return Named(folded)
    found = dtype_of(text)
    return found if found.name else Named("", f"unknown kv_dtype {text!r}{suggestion(text, {**BYTES, **PACKED_BYTES})}")


def states_work(kernel: str, kv_dtype: str) -> bool:
    """Whether a row's own ``moved_bytes`` and ``flops`` count: where the shape does not tell all that is read."""
    packed = kernel == "decode_attention" and (kv_dtype in PACKED_BYTES or kv_dtype == "int4")
    return kernel in DESCRIBED or kernel == "quantize" or packed


def operand(dtype: str) -> Dtype:
    """The format in which the matrix unit takes ``dtype``."""
    return "fp8" if dtype == "fp8_block" else dtype  # type: ignore[return-value]


def kernel_of(text: str) -> Named:
    """The kernel that ``text`` spells."""
    found = _KERNEL_ALIASES.get(canonical(text))
    if found is None:
        return Named("", f"unknown kernel {text!r}{suggestion(text, KERNELS)}" if text else "no kernel is named")
    return Named(found)


def device_of(text: str, folder: Path | None = None) -> Named:
    """The device that ``text`` names, on its own or as a machine built of it (``a100_dgx``); or its data sheet.

    :param text: a name, or the path of a device's YAML
    :param folder: where the table lies, in which a path is looked for before the working directory
    """
    if not text:
        return Named("", "no gpu is named")
    if is_path(text):
        return _sheet_of(text, folder)
    try:
        return Named(DEVICES.resolve(text))
    except UnknownNameError as error:
        stripped = _SYSTEM_SUFFIX.sub("", text)
        if is_pairwise(text) and canonical(stripped) in _BRIDGED:
            return Named(_BRIDGED[canonical(stripped)])
        if stripped not in ("", text):
            inner = device_of(stripped)
            if inner.name:
                return inner
        return Named("", str(error).replace("unknown device", "unknown gpu"))


def _sheet_of(text: str, folder: Path | None) -> Named:
    """The data sheet at the path ``text``, as its absolute path; the reason where it is missing or no data sheet."""
    places = [*([folder / text] if folder is not None else []), Path(text)]
    path = next((place for place in places if place.is_file()), places[0])
    try:
        DEVICES.load(str(path.resolve()))
    except InputError as error:
        return Named("", f"gpu {text!r}: {error}")
    return Named(str(path.resolve()))


def framework_of(text: str) -> str:
    """The framework that ``text`` spells, without what it was called through: ``nccl(torch)`` is ``nccl``."""
    return canonical(text.partition("(")[0])


def is_pairwise(text: str) -> bool:
    """Whether ``text`` names a machine whose fast link joins two devices only."""
    return "pairwise" in canonical(text)
