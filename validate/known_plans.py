"""Which known kernel a kernel of unknown make resembles: its plan with the numbers refitted, or no plan at all.

Libraries split attention alike: thread blocks over sequences, heads and parts of the cache. A handful of points fixes
the launch and the rates of such a plan better than they fix a model that knows of none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from kvwall.hardware.device import DEVICES
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.predicting.choosing import Fitted
from kvwall.simulator.predicting.folds import FOLDS, fold_of, out_of_fold_s
from kvwall.simulator.predicting.lending import KNOWN_PLANS, carried
from kvwall.validate.fit import fit_family
from kvwall.validate.point_table import Sample

Folds = tuple[dict[str, float], ...]

#: With fewer points than this only a launch and one efficiency are fitted; the rest stays at its defaults.
FEWEST_POINTS = 8

#: A known plan must beat the model without one by this factor on unseen shapes.
_CLEARLY_BETTER = 0.9


def candidates(sample: Sample, lenders: Iterable[Fitted]) -> tuple[Family, ...]:
    """Known plans for the kernel of ``sample``, each about the numbers of its best-known fit; none if it has a plan."""
    known = list(lenders)
    found = []
    for name in KNOWN_PLANS.get(sample.family.name, ()):
        fits = [fit for fit in known if fit.family.name == name]
        if fits:
            found.append(
                _about(min(fits, key=lambda fit: (not DEVICES.same(fit.device, sample.device), -fit.n)), sample.device)
            )
    return tuple(found)


def planned(sample: Sample, lenders: Iterable[Fitted]) -> tuple[Sample, Folds]:
    """``sample`` under the model with the least error on unseen shapes, and the parameters of its folds."""
    folds = fold_parameters(sample)
    best, least = (sample, folds), _error(sample, folds) * _CLEARLY_BETTER if folds else 0.0
    for family in candidates(sample, lenders) if folds else ():
        other = replace(sample, family=family)
        kept = fold_parameters(other)
        error = _error(other, kept)
        if error < least:
            best, least = (other, kept), error
    return best


def fold_parameters(sample: Sample) -> Folds:
    """Parameters fitted without each fold; none where a fold would leave too little to fit."""
    number = fold_of(sample.points)
    if number.size - np.bincount(number).max() < FEWEST_POINTS:
        return ()
    kept = []
    for fold in range(FOLDS):
        rest = np.flatnonzero(number != fold)
        fit = fit_family(sample.family, sample.points.take(rest), sample.latency_s[rest], sample.machine)
        kept.append({name: float(f"{value:.4g}") for name, value in fit.parameters.items()})
    return tuple(kept)


def _about(fit: Fitted, device: str) -> Family:
    """The family of ``fit`` with its numbers as the defaults, which a fit of few points is pulled towards."""
    values = fit.parameters if DEVICES.same(fit.device, device) else carried(fit, fit.family, device)
    parameters = (
        replace(one, default=min(max(values[one.name], one.low * 1.001), one.high * 0.999))
        for one in fit.family.parameters
    )
    return replace(fit.family, parameters=tuple(parameters))


def _error(sample: Sample, folds: Folds) -> float:
    """Mean of |log(predicted / measured)| on unseen shapes."""
    seconds = out_of_fold_s(sample.family, folds, sample.points, sample.machine)
    return float(np.mean(np.abs(np.log(seconds / sample.latency_s))))
