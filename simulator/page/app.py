"""The Dash application: one callback from controls to a view; the state lives in the link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import dash
from dash import Input, Output, State, dcc, html, no_update
from flask import Response

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.page.controls import Controls, controls_from, controls_of_link
from kvwall.simulator.page.download import download
from kvwall.simulator.page.layout import FIELDS, SLIDERS, layout
from kvwall.simulator.page.naming import keep_upload, named
from kvwall.simulator.page.views import View, all_views

_NAMES = tuple(name for name, _, _ in FIELDS)
#: Everything comes from this server; styles are set by the figures, code never by a page's text.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; script-src 'self' {hashes}; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)
_GRAPH: dict[str, Any] = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"scale": 2}}


def make_app() -> dash.Dash:
    """The application, ready to serve; it keeps nothing of anybody."""
    views = all_views()
    app = dash.Dash(
        __name__, title="kvwall", update_title="", assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True, meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )  # fmt: skip
    app.layout = layout(tuple(views))
    _view_callback(app, views)
    _link_callbacks(app)
    _download_callback(app)
    _strict(app)
    return app


def answer(name: str, controls: Controls, views: Mapping[str, Any]) -> tuple[View | None, str]:
    """A view, or the one line that says why there is none."""
    try:
        view: View = views[name](named(controls))
    except KvwallError as error:
        return None, str(error)
    return view, ""


def _view_callback(app: dash.Dash, views: Mapping[str, Any]) -> None:
    @app.callback(  # type: ignore[untyped-decorator]
        Output("says", "children"), Output("error", "children"), Output("figures", "children"),
        Output("command", "children"), Output("link", "search"),
        Input("view", "value"), *(Input(name, "value") for name in _NAMES),
        prevent_initial_call=False,
    )  # fmt: skip
    def show(name: str, *values: Any) -> tuple[Any, ...]:
        try:
            controls = controls_from(dict(zip(_NAMES, values, strict=True)))
        except KvwallError as error:
            return no_update, str(error), no_update, no_update, no_update
        view, error_line = answer(name, controls, views)
        if view is None:
            return no_update, error_line, no_update, no_update, no_update
        graphs = [dcc.Graph(figure=figure, config=_GRAPH, className="graph") for figure in view.figures]
        link = f"?{controls.query}" if controls.query else ""
        return view.says, "", graphs or [html.P("nothing to show")], view.command, link


def _link_callbacks(app: dash.Dash) -> None:
    @app.callback(  # type: ignore[untyped-decorator]
        *(Output(name, "value") for name in _NAMES),
        Input("link", "href"), *(Input(f"{name}-slider", "value") for name, *_ in SLIDERS),
        Input("upload", "contents"), State("link", "search"), *(State(name, "value") for name in _NAMES),
        prevent_initial_call=False,
    )  # fmt: skip
    def place(_: str, *rest: Any) -> tuple[Any, ...]:
        sliders, (contents, search), values = (
            rest[: len(SLIDERS)],
            rest[len(SLIDERS) : -len(_NAMES)],
            rest[-len(_NAMES) :],
        )
        now = dict(zip(_NAMES, values, strict=True))
        cause = dash.ctx.triggered_id
        if cause == "upload":
            return tuple(_uploaded(contents, now)[name] for name in _NAMES)
        for (name, *_more), power in zip(SLIDERS, sliders, strict=True):
            if cause == f"{name}-slider" and power is not None:
                now[name] = str(round(2**power))
                return tuple(now[name] for name in _NAMES)
        if now != {f.name: f.default for f in fields(Controls)}:
            return (no_update,) * len(_NAMES)
        try:
            asked = controls_of_link(search or "")
        except KvwallError:
            return (no_update,) * len(_NAMES)
        return tuple(getattr(asked, name) for name in _NAMES)


def _uploaded(contents: str, now: dict[str, Any]) -> dict[str, Any]:
    """The controls with an uploaded model; a file that is none stays in its field, where its error is shown."""
    try:
        return {**now, "model": keep_upload(contents or "")}
    except KvwallError as error:
        return {**now, "model": str(error)[:400]}


def _download_callback(app: dash.Dash) -> None:
    @app.callback(  # type: ignore[untyped-decorator]
        Output("download", "data"),
        Input("csv", "n_clicks"), Input("json", "n_clicks"), Input("html", "n_clicks"),
        State("view", "value"), *(State(name, "value") for name in _NAMES),
        prevent_initial_call=True,
    )  # fmt: skip
    def save(_csv: Any, _json: Any, _html: Any, name: str, *values: Any) -> Any:
        try:
            controls = named(controls_from(dict(zip(_NAMES, values, strict=True))))
            text, file = download(str(dash.ctx.triggered_id), name, controls)
        except KvwallError:
            return no_update
        return {"content": text, "filename": file}


def _strict(app: dash.Dash) -> None:
    """A content policy that runs no script but this server's, and answers without traces."""
    hashes = " ".join(f"'{one.strip(chr(39))}'" for one in app.csp_hashes())

    @app.server.after_request  # type: ignore[untyped-decorator]
    def guard(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY.format(hashes=hashes)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    app.server.config["MAX_CONTENT_LENGTH"] = 1_000_000
