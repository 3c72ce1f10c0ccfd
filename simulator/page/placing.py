"""What sets the controls besides typing: a link that was opened, a slider, an uploaded model."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import dash
from dash import Input, Output, State, no_update

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.page.controls import Controls, controls_of_link
from kvwall.simulator.page.layout import NAMES
from kvwall.simulator.page.naming import keep_upload
from kvwall.simulator.page.sliders import SLIDERS

_UNCHANGED = (no_update,) * len(NAMES)


def place_callback(app: dash.Dash) -> None:
    """One callback, as each control has one place that sets it."""

    @app.callback(  # type: ignore[untyped-decorator]
        *(Output(name, "value") for name in NAMES),
        Input("link", "href"), *(Input(f"{slider.name}-slider", "value") for slider in SLIDERS),
        Input("upload", "contents"), State("link", "search"), *(State(name, "value") for name in NAMES),
        prevent_initial_call=False,
    )  # fmt: skip
    def place(_: str, *rest: Any) -> tuple[Any, ...]:
        moved, (contents, search), values = rest[: len(SLIDERS)], rest[len(SLIDERS) : -len(NAMES)], rest[-len(NAMES) :]
        now = dict(zip(NAMES, values, strict=True))
        cause = dash.ctx.triggered_id
        if cause == "upload":
            now["model"] = _uploaded(contents)
            return tuple(now[name] for name in NAMES)
        for slider, power in zip(SLIDERS, moved, strict=True):
            if cause == f"{slider.name}-slider":
                if power is None:
                    return _UNCHANGED
                now[slider.name] = slider.text(power)
                return tuple(now[name] for name in NAMES)
        if now != {field.name: field.default for field in fields(Controls)}:
            return _UNCHANGED
        try:
            asked = controls_of_link(search or "")
        except KvwallError:
            return _UNCHANGED
        return tuple(getattr(asked, name) for name in NAMES)


def _uploaded(contents: str) -> str:
    """The name of an uploaded model; a file that is none stays in its field, where its error is shown."""
    try:
        return keep_upload(contents or "")
    except KvwallError as error:
        return str(error)[:400]
