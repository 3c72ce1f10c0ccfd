"""What answers the controls: a view in the places for its figures, a pressed part's equation, files to take away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash
from dash import Input, Output, State, no_update

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.page.controls import Controls, controls_from
from kvwall.simulator.page.download import download
from kvwall.simulator.page.layout import MOST_FIGURES, NAMES
from kvwall.simulator.page.naming import named
from kvwall.simulator.page.views import View


def answer(name: str, controls: Controls, views: Mapping[str, Any]) -> tuple[View | None, str]:
    """A view, or the one line that says why there is none."""
    try:
        view: View = views[name](named(controls))
    except KvwallError as error:
        return None, str(error)
    return view, ""


def view_callback(app: dash.Dash, views: Mapping[str, Any]) -> None:
    """Controls to a view. Figures are put into places that stay, so that the browser redraws only what changed."""
    places = range(MOST_FIGURES)
    texts = (Output("says", "children"), Output("error", "children"), Output("command", "children"))

    @app.callback(  # type: ignore[untyped-decorator]
        *texts, Output("link", "search"),
        *(Output(f"figure-{i}", "figure") for i in places), *(Output(f"place-{i}", "className") for i in places),
        Input("view", "value"), *(Input(name, "value") for name in NAMES),
        prevent_initial_call=False,
    )  # fmt: skip
    def show(name: str, *values: Any) -> tuple[Any, ...]:
        nothing = (no_update,) * MOST_FIGURES
        try:
            controls = controls_from(dict(zip(NAMES, values, strict=True)))
        except KvwallError as error:
            return no_update, str(error), no_update, no_update, *nothing, *nothing
        view, error_line = answer(name, controls, views)
        if view is None:
            return no_update, error_line, no_update, no_update, *nothing, *nothing
        left = MOST_FIGURES - len(view.figures)
        figures = (*view.figures, *(no_update,) * left)
        classes = (*("",) * len(view.figures), *("away",) * left)
        link = f"?{controls.query}" if controls.query else ""
        return view.says, "", view.command, link, *figures, *classes


def equation_callbacks(app: dash.Dash) -> None:
    """A pressed part of a figure says what it was made with; another view or question takes the text away."""
    pressed = [Input(f"figure-{i}", "clickData") for i in range(MOST_FIGURES)]

    @app.callback(  # type: ignore[untyped-decorator]
        Output("equation", "children"), *pressed, Input("command", "children"), prevent_initial_call=True
    )
    def told(*given: Any) -> str:
        cause = dash.ctx.triggered_id
        if cause == "command":
            return ""
        point = given[int(str(cause).removeprefix("figure-"))]["points"][0]
        text = point.get("customdata")
        return text if isinstance(text, str) else ""


def download_callback(app: dash.Dash) -> None:
    """Buttons to files of the view that is shown."""

    @app.callback(  # type: ignore[untyped-decorator]
        Output("download", "data"),
        Input("csv", "n_clicks"), Input("json", "n_clicks"), Input("html", "n_clicks"),
        State("view", "value"), *(State(name, "value") for name in NAMES),
        prevent_initial_call=True,
    )  # fmt: skip
    def save(_csv: Any, _json: Any, _html: Any, name: str, *values: Any) -> Any:
        try:
            controls = named(controls_from(dict(zip(NAMES, values, strict=True))))
            text, file = download(str(dash.ctx.triggered_id), name, controls)
        except KvwallError:
            return no_update
        return {"content": text, "filename": file}
