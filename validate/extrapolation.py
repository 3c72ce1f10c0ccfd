"""``python -m kvwall.validate.extrapolation DIR``: kernel models held against what lies beyond the shapes of a fit.

Longer contexts and larger batches than any that was fitted, a kernel of unknown make known by twenty points, and
(:mod:`kvwall.validate.generations`) a device whose generation was never measured.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.predicting.agreement import Agreement, agreement
from kvwall.simulator.predicting.choosing import REGIME_BOUNDS_S, Fitted
from kvwall.simulator.predicting.families import families
from kvwall.simulator.predicting.fits import shipped
from kvwall.simulator.predicting.lending import KNOWN_PLANS
from kvwall.simulator.predicting.shape_range import OUTSIDE_SPREAD, Range, outside, range_of
from kvwall.simulator.predicting.table import Table
from kvwall.simulator.traffic import Array
from kvwall.validate.calibrate import fitted
from kvwall.validate.fit import fit_family
from kvwall.validate.generations import borrowed
from kvwall.validate.point_table import Index, Sample, point_table, read_points
from kvwall.validate.trees import grown

#: Fewer points than this on either side of a limit are no test.
_FEWEST = 20

#: Points of a new kernel, and how often they are drawn.
NEW_POINTS, SEEDS = 20, 5

#: The longest context and the largest batch that are fitted.
LIMITS = {"kv_len": 2048, "batch": 16}

_BAND = 1.2816
_DECODES = ("decode_attention", "mla_decode")
_NEW_KERNELS = ("decode_attention", "prefill_attention", "mla_decode")


@dataclass(frozen=True)
class Beyond:
    """Points above a limit, predicted by a fit to those up to it.

    :ivar fitted: points up to the limit
    :ivar inside: what the band of the fit would hold if it did not grow beyond the fitted shapes
    :ivar trees: boosted trees grown on the same points, where they were asked for
    """

    family: str
    device: str
    framework: str
    fitted: int
    found: Agreement
    inside: float
    trees: Agreement | None = None


@dataclass(frozen=True)
class NewKernel:
    """A kernel of unknown make, known by :data:`NEW_POINTS` random points; medians over the seeds.

    :ivar n: points tested
    :ivar plan: median and 90th percentile of |error| as ``kvwall calibrate`` fits it, with the least and the greatest
        median over the seeds, and what its band holds
    :ivar without: median and 90th percentile of the model without a plan
    :ivar own: likewise of the kernel's own model from its defaults, as for a known library on a new device
    :ivar plans: whose plans were taken
    """

    family: str
    device: str
    framework: str
    n: int
    plan: tuple[float, float]
    range: tuple[float, float]
    inside_band: float
    without: tuple[float, float]
    own: tuple[float, float]
    plans: tuple[str, ...]


def beyond(sample: Sample, column: str, *, trees: bool = False) -> Beyond | None:
    """``sample`` above the limit of ``column``; ``None`` where one side of it holds too little.

    :param trees: hold boosted trees against the same points as well
    """
    values = np.broadcast_to(np.asarray(getattr(sample.points, column)), sample.latency_s.shape)
    below, above = (np.flatnonzero(side) for side in (values <= LIMITS[column], values > LIMITS[column]))
    if min(below.size, above.size) < _FEWEST:
        return None
    seen = sample.points.take(below)
    fit = fit_family(sample.family, seen, sample.latency_s[below], sample.machine)
    spread = tuple(fit.residual.values())
    found = _held(sample, sample.family, fit.parameters, spread, above, range_of(seen))
    inside = _held(sample, sample.family, fit.parameters, spread, above, {}).inside_band
    other = _errors(grown(sample, below)(above), sample.latency_s[above]) if trees else None
    return Beyond(sample.family.name, sample.device, sample.framework, int(below.size), found, inside, other)


def new_kernel(sample: Sample, lenders: Iterable[Fitted]) -> NewKernel:
    """``sample`` as a kernel whose make is unknown: no plan of its own library may be taken."""
    library = _library(sample.family.name)
    strangers = tuple(fit for fit in lenders if _library(fit.family.name) != library)
    trials = [_trial(sample, seed, strangers) for seed in range(SEEDS)]
    medians = [plan.median for plan, *_ in trials]
    return NewKernel(
        family=sample.family.name,
        device=sample.device,
        framework=sample.framework,
        n=trials[0][0].n,
        plan=_middle([plan for plan, *_ in trials]),
        range=(min(medians), max(medians)),
        inside_band=float(np.median([plan.inside_band for plan, *_ in trials])),
        without=_middle([without for _, without, *_ in trials]),
        own=_middle([own for *_, own, _ in trials]),
        plans=tuple(sorted({name.partition("/")[2] for *_, name in trials})),
    )


def _trial(sample: Sample, seed: int, strangers: tuple[Fitted, ...]) -> tuple[Agreement, Agreement, Agreement, str]:
    """Errors on all other points as calibrated, without a plan and with the kernel's own; whose plan was taken."""
    order = np.random.default_rng(seed).permutation(sample.latency_s.size)
    few, rest = order[:NEW_POINTS], order[NEW_POINTS:]
    seen = replace(
        sample, family=families()[unplanned(sample.family.name)], points=sample.points.take(few),
        latency_s=sample.latency_s[few], repeated=0, uneven=0,
    )  # fmt: skip
    made = fitted(seen, "", strangers)
    family, document = made.sample.family, made.document
    plain = fit_family(seen.family, seen.points, seen.latency_s, sample.machine)
    own = fit_family(sample.family, seen.points, seen.latency_s, sample.machine)
    none = (0.0, 0.0, 0.0)
    return (
        _held(sample, family, document.parameters, tuple(document.residual.values()), rest, document.range),
        _held(sample, seen.family, plain.parameters, none, rest, {}),
        _held(sample, sample.family, own.parameters, none, rest, {}),
        family.name,
    )


def unplanned(name: str) -> str:
    """The family that the kernel of family ``name`` would have if nothing were known of its plan."""
    kernel, _, label = name.partition("/")
    fp8 = "" if "fp8" not in label else "-fp8-cache" if kernel == "prefill" and label != "trtllm-fp8" else "-fp8"
    return f"{kernel}/generic{fp8}"


def _library(name: str) -> str:
    return name.partition("/")[2].partition("-")[0]


def _middle(found: list[Agreement]) -> tuple[float, float]:
    return float(np.median([one.median for one in found])), float(np.median([one.p90 for one in found]))


def _held(
    sample: Sample, family: Family, parameters: dict[str, float], spread: tuple[float, ...], rows: Index, known: Range
) -> Agreement:
    """Agreement of some points of ``sample`` with a fit and its band, which grows beyond the ``known`` shapes."""
    points, measured = sample.points.take(rows), sample.latency_s[rows]
    seconds = np.broadcast_to(family.seconds(points, parameters, sample.machine), measured.shape)
    ideal = np.maximum(sample.memory_s, sample.other_s)[rows]
    inside = np.asarray(spread)[np.searchsorted(REGIME_BOUNDS_S, ideal, side="right")]
    wide: Array = np.exp(_BAND * np.hypot(inside, OUTSIDE_SPREAD * outside(points, known)))
    found = agreement(seconds, measured, seconds / wide, seconds * wide)
    if found is None:
        raise ValueError("a sample has no point")
    return found


def _errors(seconds: Array, measured: Array) -> Agreement | None:
    return agreement(seconds, measured, measured, measured)


def beyond_rows(samples: Iterable[Sample], column: str, *, trees: bool = False) -> list[Beyond]:
    """Every decode model beyond the limit of ``column``."""
    tested = (beyond(sample, column, trees=trees) for sample in samples if sample.family.kernel in _DECODES)
    return [one for one in tested if one is not None]


def new_kernel_rows(samples: Iterable[Sample]) -> list[NewKernel]:
    """Every attention model with a plan and enough points, as a new kernel."""
    large = (one for one in samples if one.family.kernel in _NEW_KERNELS and one.latency_s.size >= 8 * NEW_POINTS)
    return [new_kernel(sample, shipped()) for sample in large if sample.family.name not in KNOWN_PLANS]


def _lines(table: Table) -> Iterable[str]:
    """All results as text, one per line."""
    samples = point_table(table).samples
    for column, limit in LIMITS.items():
        for one in beyond_rows(samples, column):
            yield f"{column} above {limit} | {one.family} | {one.device} | {one.found.n} | {_text(one.found)}"
    for lent in borrowed(table):
        yield f"generation | {lent.kernel} | {lent.device} | {lent.regime} | {lent.found.n} | {_text(lent.found)}"
    for new in new_kernel_rows(samples):
        yield (
            f"new kernel | {new.family} | {new.device} | {new.n} | {new.plan[0]:.3f} / {new.plan[1]:.3f} | "
            f"without {new.without[0]:.3f} / {new.without[1]:.3f} | own {new.own[0]:.3f} / {new.own[1]:.3f} | "
            f"in band {new.inside_band:.2f} | {', '.join(new.plans)}"
        )


def _text(found: Agreement) -> str:
    (a, b), (c, d) = found.median_interval, found.p90_interval
    errors = f"{found.median:.3f} ({a:.3f}-{b:.3f}) / {found.p90:.3f} ({c:.3f}-{d:.3f})"
    return f"{errors} | bias {found.bias:+.3f} | in band {found.inside_band:.2f}"


def main(arguments: list[str]) -> int:
    """Print the results for the kernel tables of the one argument, a folder."""
    for line in _lines(read_points(Path(arguments[0]))):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KvwallError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
