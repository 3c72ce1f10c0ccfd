"""Views that the evidence adds to the page: how wrong the kernel fits are, and published results beside predictions."""

from __future__ import annotations

from concurrent.futures import Future, ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context

import plotly.graph_objects as go

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS
from kvwall.simulator.figures.agreement import against
from kvwall.simulator.figures.style import COLOURS, styled
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.views import View
from kvwall.validate.reproduce_cli import summary
from kvwall.validate.reproducing.reproduce import ReproduceAnswer, reproduce


def calibration_view(controls: Controls) -> View:
    """Error of every shipped kernel fit on shapes that it has not seen: median, and the slowest tenth."""
    found = [KERNEL_CALIBRATIONS.load(name) for name in KERNEL_CALIBRATIONS.names]
    fits = [(fit, calibration) for calibration in found for fit in calibration.fits.values()]
    fits.sort(key=lambda pair: pair[0].cross_validated.median)
    names = [f"{fit.family}, {calibration.device}, {calibration.framework}" for fit, calibration in fits]
    figure = go.Figure()
    for label, colour in (("median", COLOURS[0]), ("p90", COLOURS[1])):
        figure.add_scatter(
            x=[getattr(fit.cross_validated, label) * 100 for fit, _ in fits],
            y=names,
            mode="markers",
            name=f"{label} of |error|",
            marker={"color": colour, "size": 8},
            hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
        )
    styled(figure, "Kernel fits on shapes they have not seen", "per cent", "", xaxis_type="log")
    figure.update_layout(height=120 + 18 * len(names))
    says = f"{len(fits)} fits of public measurements; each error is on shapes left out of the fit."
    return View(says, (figure,), "kvwall list calibrations")


class PapersView:
    """Published figures beside what follows from the equations, one point a row.

    All rows take seconds, and depend on nothing that a person sets: a process of their own may start on them early.
    """

    def __init__(self) -> None:
        self._early: Future[ReproduceAnswer] | None = None

    def prepare(self) -> None:
        """Start on the rows in another process."""
        pool = ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))
        self._early = pool.submit(reproduce)
        pool.shutdown(wait=False)

    def __call__(self, controls: Controls) -> View:
        """The view; it waits for the rows if they are not ready."""
        answer = self._answer
        rows = [row for row in answer.rows if row.predicted and row.predicted > 0]
        # Of a published range the end that is nearest, or the prediction itself inside it.
        known = [(row.predicted or 0.0) / (row.ratio or 1.0) for row in rows]
        told = [f"<b>{row.system}: {row.id}</b><br>{row.claim}, {row.unit}<br>{row.verdict}" for row in rows]
        predicted = [row.predicted or 0.0 for row in rows]
        title = "Published results, predicted from their equations"
        figure = against([row.verdict for row in rows], known, predicted, told, title, "in the unit of each row")
        return View(summary(answer), (figure,), "kvwall reproduce")

    @cached_property
    def _answer(self) -> ReproduceAnswer:
        return reproduce() if self._early is None else self._early.result()


papers_view = PapersView()
