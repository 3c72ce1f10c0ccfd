"""Families of matrix products, and which one a device, a framework and its kernel mean."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from kvwall.hardware.device import Device
from kvwall.hardware.dtype import Dtype
from kvwall.hardware.errors import InputError, suggestion
from kvwall.simulator.kernel_time.common import microseconds, ratio
from kvwall.simulator.kernel_time.family import Family, Parameter
from kvwall.simulator.kernel_time.gemm import Library, bound_s, product_s
from kvwall.simulator.kernel_time.gemm_menu import Menu, cublas_ampere, cublas_hopper, cutlass_fp8, deepgemm
from kvwall.simulator.kernel_time.quantize import READ, ROW

LAUNCH = microseconds("launch_us", "start of the kernel (with the quantise pass), replayed from a graph", 0.5, 30, 3)
HBM = ratio("hbm_fraction", "achieved part of the memory bandwidth", 0.3, 1.0, 0.85)
MATRIX = ratio("matrix_fraction", "achieved part of the matrix peak in a tile of 128 x 256", 0.2, 1.0, 0.85)
FEED = Parameter("feed_bytes_per_clock", "B/clock", "operands that reach one compute unit", 6, 300, 60)
#: Ampere copies operands to shared memory through its own instructions; Hopper has a unit for it.
AMPERE_FEED = replace(FEED, default=34.0)
TILE = microseconds("tile_us", "start and end of a tile that no other tile hides", 0.02, 10, 0.2)
EPILOGUE = ratio("epilogue", "part of the write of a tile that nothing hides", 0.001, 20, 0.5)
SPLIT = microseconds("split_us", "the reduction after a split of k", 0.02, 60, 2.5)
ROUNDING = ratio("wave_rounding", "part of an incomplete last wave that is paid in full", 0.005, 1.0, 0.1)
HALVING = ratio("halving", "matrix rate of a tile of half the size, against the larger one", 0.3, 1.0, 0.9)
OVERHANG = ratio("overhang", "cost of a row tile that overhangs the matrix, in tiles", 0.01, 5.0, 0.5)
HOST = microseconds("host_us", "host's work for one call without a graph, under which the kernels hide", 5, 500, 80)

_PLAIN = {"tile_us": 0.0, "split_us": 1e3, "wave_rounding": 1.0, "halving": 1.0, "overhang": 0.0, "epilogue": 0.3}

#: DeepGEMM is bound by feeding and promoting, so that points do not tell its matrix fraction.
_DEEP = {**_PLAIN, "matrix_fraction": 0.8}

#: Bytes of one operand.
OPERAND_BYTES: dict[Dtype, float] = {
    "fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5, "int4": 0.5,
}  # fmt: skip

#: Where nothing is known, feeding is taken to keep up with the matrix unit.
GENERIC_FEED = replace(FEED, default=100.0)

_HOPPER = (LAUNCH, HBM, MATRIX, FEED, TILE, EPILOGUE, SPLIT, ROUNDING)
_AMPERE = (LAUNCH, HBM, MATRIX, AMPERE_FEED, TILE, EPILOGUE, SPLIT, HALVING)


def _family(name: str, menu: Menu, dtype: Dtype, parameters: tuple[Parameter, ...], fixed: dict[str, float],
            reference: str, reread: float = 0.0) -> Family:  # fmt: skip
    known = {key: value for key, value in fixed.items() if key not in {parameter.name for parameter in parameters}}
    operand_bytes = OPERAND_BYTES[dtype]
    library = Library(menu, dtype, operand_bytes, 3 if operand_bytes < 2 else 4, reread, known)
    return Family(
        name=f"gemm/{name}",
        kernel="gemm",
        parameters=parameters,
        seconds=partial(product_s, library=library),
        ideal_seconds=partial(bound_s, library=library),
        reference=reference,
    )


_GENERIC = (LAUNCH, HBM, replace(MATRIX, default=0.75), GENERIC_FEED, TILE, EPILOGUE, SPLIT, HALVING)

_CUBLAS_RULES = "minimum over a menu of tiles and splits, which cuBLAS comes near"
_DEEP_RULES = "DeepGEMM: tiles of 64 or 128 rows and 16 to 128 columns, never split"
_QUANTISED = (ROW, READ)

_EAGER = (HOST, LAUNCH, HBM, FEED, EPILOGUE, OVERHANG, *_QUANTISED)
_EAGER_KERNELS = ("deepgemm", "cutlass", "flashinfer")

#: Every family of matrix products.
FAMILIES: tuple[Family, ...] = (
    _family("cublas-hopper", cublas_hopper, "bf16", _HOPPER, _PLAIN, _CUBLAS_RULES),
    _family("cublas-ampere", cublas_ampere, "bf16", _AMPERE, _PLAIN, _CUBLAS_RULES),
    _family("cublas-hopper-fp8", cublas_hopper, "fp8",
            (LAUNCH, HBM, MATRIX, FEED, TILE, SPLIT, *_QUANTISED), {**_PLAIN, "wave_rounding": 0.1}, _CUBLAS_RULES),
    _family("cutlass-fp8", cutlass_fp8, "fp8", (LAUNCH, HBM, MATRIX, FEED, TILE, EPILOGUE, *_QUANTISED), _PLAIN,
            "vLLM, scaled_mm_sm90_fp8_dispatch.cuh", reread=0.5),
    _family("deepgemm-quantised", deepgemm, "fp8", (LAUNCH, HBM, FEED, EPILOGUE, OVERHANG, *_QUANTISED), _DEEP,
            _DEEP_RULES),
    _family("deepgemm", deepgemm, "fp8", (LAUNCH, HBM, MATRIX, FEED, EPILOGUE, OVERHANG), _PLAIN, _DEEP_RULES),
    *(_family(f"{kernel}-block-eager", deepgemm, "fp8", _EAGER, _DEEP, _DEEP_RULES) for kernel in _EAGER_KERNELS),
    *(_family(f"generic-{dtype}", cublas_ampere, dtype, _GENERIC, _PLAIN, _CUBLAS_RULES) for dtype in OPERAND_BYTES),
)  # fmt: skip

#: Families of matrix products by name.
GEMM: dict[str, Family] = {family.name: family for family in FAMILIES}

_HALF = ("bf16", "fp16")


def gemm_family(device: Device, framework: str, dtype: str, kernel_source: str = "") -> Family:
    """The family of a matrix product.

    Hopper: cuBLAS for 16-bit products and the fp8 of TensorRT-LLM, CUTLASS for the fp8 of vLLM, DeepGEMM for scales in
    blocks of 128 (the eager kernels of vLLM only where they are named: they wait for the host, which a graph avoids).
    Ampere and Ada: cuBLAS for 16-bit products. All else is generic.

    :param framework: ``"vllm"``, ``"trtllm"``, ``"sglang"``, ``"deepgemm"`` or any other
    :param dtype: of the operands; ``"fp8_block"`` has a scale for each 128 elements of k
    :param kernel_source: the kernel as a table names it, if it does
    :raises InputError: a dtype that no matrix unit has
    """
    numbers = dtype.removesuffix("_block")
    if numbers not in OPERAND_BYTES:
        near = suggestion(dtype, (*OPERAND_BYTES, "fp8_block"))
        raise InputError(f"gemm dtype {dtype!r} is unknown{near} (allowed: {', '.join((*OPERAND_BYTES, 'fp8_block'))})")
    capability = device.compute_capability or 0.0
    source = kernel_source.lower()
    if capability == 9.0 and dtype in _HALF:
        return GEMM["gemm/cublas-hopper"]
    if capability == 9.0 and numbers == "fp8":
        return GEMM[f"gemm/{_hopper_fp8(framework.lower(), dtype, source)}"]
    if 8.0 <= capability < 9.0 and dtype in _HALF:
        return GEMM["gemm/cublas-ampere"]
    return GEMM[f"gemm/generic-{numbers}"]


def _hopper_fp8(framework: str, dtype: str, source: str) -> str:
    if dtype == "fp8":
        return "cutlass-fp8" if framework == "vllm" or "cutlass" in source else "cublas-hopper-fp8"
    if framework == "deepgemm":
        return "deepgemm"
    named = next((kernel for kernel in _EAGER_KERNELS if kernel in source), None)
    return f"{named}-block-eager" if framework == "vllm" and named else "deepgemm-quantised"
