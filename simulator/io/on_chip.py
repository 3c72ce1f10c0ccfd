"""What a device holds on chip, per compute unit and in all: the capacities that bounds and tiles belong to."""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.hardware.device import Device

_KIB = 1024.0

#: Unified data cache (shared memory and first-level cache) of one unit by compute capability: CUDA C++ programming
#: guide, compute capabilities. A kernel may use less as shared memory, but the rest still keeps data near the unit.
_UNIFIED_BYTES = {
    7.0: 128 * _KIB, 7.5: 96 * _KIB, 8.0: 192 * _KIB, 8.6: 128 * _KIB, 8.9: 128 * _KIB,
    9.0: 256 * _KIB, 10.0: 256 * _KIB, 10.3: 256 * _KIB, 12.0: 128 * _KIB, 12.1: 128 * _KIB,
}  # fmt: skip

#: Tensor memory of one unit, 128 lanes of 512 words: PTX ISA, tcgen05.
_TENSOR_MEMORY_BYTES = {10.0: 256 * _KIB, 10.3: 256 * _KIB}


@dataclass(frozen=True, slots=True)
class OnChip:
    """On-chip memory of one device in bytes; ``None`` where its documents state none.

    A lower bound holds only for a capacity that leaves nothing out. Where further caches are not on record (memory-side
    caches, first-level caches of other vendors) ``unit_bytes`` and ``chip_bytes`` are ``None``, and nothing but the
    compulsory traffic is asserted.

    :ivar units: compute units
    :ivar sram_per_block_bytes: shared memory that one thread block may use
    :ivar unit_bytes: everything one unit can keep: unified data cache, registers, tensor memory
    :ivar native_fp8: the matrix unit takes 8-bit floats as they are stored
    """

    name: str
    units: int
    sram_per_block_bytes: float | None
    sram_per_unit_bytes: float | None
    registers_per_unit_bytes: float | None
    unit_bytes: float | None
    l2_bytes: float | None
    native_fp8: bool

    @property
    def chip_bytes(self) -> float | None:
        """The last-level cache and the memory of all units."""
        if self.unit_bytes is None or self.l2_bytes is None:
            return None
        return self.l2_bytes + self.units * self.unit_bytes


def on_chip(device: Device) -> OnChip:
    """On-chip memory of ``device``, from its data sheet and its compute capability."""
    units = device.units
    capability = device.compute_capability or 0.0
    unified, registers = _UNIFIED_BYTES.get(capability), units.register_file_per_unit_bytes
    known = unified is not None and registers is not None
    return OnChip(
        name=device.name,
        units=units.count,
        sram_per_block_bytes=units.sram_per_block_bytes or units.sram_per_unit_bytes,
        sram_per_unit_bytes=units.sram_per_unit_bytes,
        registers_per_unit_bytes=registers,
        unit_bytes=(unified or 0.0) + (registers or 0.0) + _TENSOR_MEMORY_BYTES.get(capability, 0.0) if known else None,
        l2_bytes=device.l2.capacity_bytes if device.l2 else None,
        native_fp8=device.native_fp8,
    )
