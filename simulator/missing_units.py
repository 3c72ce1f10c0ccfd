"""What a device without a matrix unit for a number format does instead, told as it is priced."""

from __future__ import annotations

from kvwall.simulator.kept import kept_cache
from kvwall.simulator.setup import Setup


def missing_units(setup: Setup) -> list[str]:
    """A line for each format of weights or cache that this device has no matrix unit for."""
    device, form = setup.system.device, setup.weights
    told = []
    if not setup.arithmetic.has_unit:
        product = device.matrix_dtype(form.product_dtype(False))
        how = "unpacked on the vector unit, " if form.unpack_ops(False) else ""
        told.append(
            f"{_lacks(setup, form.compute_dtype)}: {setup.weights_name} weights are {how}multiplied in {product}"
        )
    cache = kept_cache(setup.model, setup.stack, 1.0, 1.0)
    segments = [segment for group in cache.groups for tensor in group.tensors for segment in tensor.segments]
    natives = {segment.bits.native: segment.bits.name for segment in segments if segment.bits.native is not None}
    told += [
        f"{_lacks(setup, native)}: {name} codes of the cache are unpacked on the vector unit, "
        f"attention multiplies in {device.matrix_dtype('bf16')}"
        for native, name in natives.items()
        if device.matrix_dtype(native) != native
    ]
    return told


def _lacks(setup: Setup, dtype: str) -> str:
    return f"the {setup.system.device.name} has no {dtype} matrix unit"
