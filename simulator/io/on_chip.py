"""What a device holds on chip, per compute unit and in all: the capacities that bounds and tiles belong to."""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.hardware.device import Device


@dataclass(frozen=True, slots=True)
class OnChip:
    """On-chip memory of one device in bytes; ``None`` where its data sheet states none.

    :ivar units: compute units
    :ivar sram_per_block_bytes: shared memory that one thread block may use
    :ivar unit_bytes: everything one unit can keep: shared memory and registers
    :ivar chip_bytes: everything on the chip: the last-level cache and all units
    :ivar native_fp8: the matrix unit takes 8-bit floats as they are stored
    """

    name: str
    units: int
    sram_per_block_bytes: float | None
    sram_per_unit_bytes: float | None
    registers_per_unit_bytes: float | None
    l2_bytes: float | None
    native_fp8: bool

    @property
    def unit_bytes(self) -> float | None:
        """Shared memory and registers of one unit."""
        if self.sram_per_unit_bytes is None or self.registers_per_unit_bytes is None:
            return None
        return self.sram_per_unit_bytes + self.registers_per_unit_bytes

    @property
    def chip_bytes(self) -> float | None:
        """The last-level cache and the memory of all units."""
        if self.unit_bytes is None or self.l2_bytes is None:
            return None
        return self.l2_bytes + self.units * self.unit_bytes


def on_chip(device: Device) -> OnChip:
    """On-chip memory of ``device``, from its data sheet."""
    units = device.units
    return OnChip(
        name=device.name,
        units=units.count,
        sram_per_block_bytes=units.sram_per_block_bytes or units.sram_per_unit_bytes,
        sram_per_unit_bytes=units.sram_per_unit_bytes,
        registers_per_unit_bytes=units.register_file_per_unit_bytes,
        l2_bytes=device.l2.capacity_bytes if device.l2 else None,
        native_fp8=device.native_fp8,
    )
