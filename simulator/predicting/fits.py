"""The fits that ship with kvwall, and the chooser that a calibration's name means."""

from __future__ import annotations

from kvwall.simulator.predicting.choosing import Chooser


def chooser_of(calibration: str | None, *, out_of_fold: bool = False) -> Chooser:
    """The chooser that uses one calibration, none, or by default all."""
    return Chooser((), out_of_fold=out_of_fold)
