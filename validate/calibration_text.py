"""A kernel calibration as the YAML that people read and keep under version control."""

from __future__ import annotations

from typing import Any

import yaml

from kvwall.hardware.calibration import KernelCalibration
from kvwall.simulator.predicting.folds import FoldParameters


class _Flow(dict[str, Any]):
    """A mapping on one line."""


class _Row(list[Any]):
    """A list on one line."""


class _Dumper(yaml.SafeDumper):
    """Block style, but for what reads better on one line."""


_Dumper.add_representer(_Flow, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, True))
_Dumper.add_representer(_Row, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, True))


def calibration_text(calibration: KernelCalibration) -> str:
    """The YAML of ``calibration``, with its keys in the order of the document."""
    data = calibration.model_dump()
    head = {key: data[key] for key in ("name", "device", "framework", "versions", "source")}
    for fit in data["fits"].values():
        fit["log_covariance"] = [_Row(row) for row in fit["log_covariance"]]
        fit["residual"] = _Flow(fit["residual"])
        fit["range"] = _Flow({name: _Row(ends) for name, ends in fit["range"].items()})
        fit["cross_validated"] = _Flow(fit["cross_validated"])
        for name in ("range", "comment"):
            if not fit[name]:
                del fit[name]
    return _dump({**head, "fits": data["fits"]})


def folds_text(folds: FoldParameters) -> str:
    """The YAML of the parameters of each fold."""
    families = {name: [_Flow(parameters) for parameters in kept] for name, kept in folds.families.items()}
    note = "# Parameters of fits that each left out a fifth of the shapes, in the order of the folds.\n"
    return note + _dump({"calibration": folds.calibration, "families": families})


def _dump(data: dict[str, Any]) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=400, allow_unicode=True)
    return text
