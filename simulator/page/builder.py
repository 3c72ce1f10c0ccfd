"""The builder of stacks on the page: a scheme, its options, what it comes to, and buttons that put it into the list."""

from __future__ import annotations

from typing import Any

import dash
from dash import ALL, Input, Output, State, dcc, html, no_update

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.page.controls import Controls, controls_from
from kvwall.simulator.page.stacks import beside, joined, judged, options_of, upon, without, written
from kvwall.simulator.stack import scheme_names

_MACHINE = ("model", "on", "engine", "weights", "context", "users", "schemes")


def builder() -> Any:
    """The stacks that are asked about, each with a button that takes it away, and the place to make another."""
    start = Controls()
    return html.Div(
        [
            html.Ul(_chips(start.stacks), id="stacks", **{"aria-label": "Schemes that are compared"}),
            html.Details(
                [
                    html.Summary("Build a stack"),
                    html.Label("Scheme", htmlFor="pick"),
                    dcc.Dropdown(list(scheme_names()), id="pick", placeholder="choose a scheme"),
                    html.P(id="about"),
                    html.Div(id="options"),
                    html.Div(id="verdict", role="status", **{"aria-live": "polite"}),
                    html.Button("Compare it", id="beside", type="button", disabled=True),
                    html.Button("Put on the last stack", id="upon", type="button", disabled=True),
                ],
                id="builder",
            ),
        ],
        className="field stacks",
    )


def build_callbacks(app: dash.Dash) -> None:
    """From a scheme to its options, from these to a verdict, and from buttons to the list of stacks."""
    _option_callbacks(app)
    _list_callbacks(app)


def _option_callbacks(app: dash.Dash) -> None:
    @app.callback(  # type: ignore[untyped-decorator]
        Output("about", "children"), Output("options", "children"), Input("pick", "value"), prevent_initial_call=True
    )
    def chosen(scheme: str | None) -> tuple[Any, ...]:
        title, options = options_of(scheme or "")
        rows = [
            html.Div(
                [
                    html.Label(f"{option.name}: {option.allowed}"),
                    dcc.Input(
                        id={"type": "option", "name": option.name}, type="text", placeholder=option.default or "auto",
                        debounce=0.4, maxLength=60, autoComplete="off",
                    ),
                ]
            )
            for option in options
        ]  # fmt: skip
        return title, rows

    @app.callback(  # type: ignore[untyped-decorator]
        Output("verdict", "children"), Output("beside", "disabled"), Output("upon", "disabled"),
        Input("pick", "value"), Input({"type": "option", "name": ALL}, "value"),
        State({"type": "option", "name": ALL}, "id"), *(Input(name, "value") for name in _MACHINE),
        prevent_initial_call=True,
    )  # fmt: skip
    def verdict(scheme: str | None, values: list[str], names: list[dict[str, str]], *machine: str) -> tuple[Any, ...]:
        if not scheme:
            return [], True, True
        controls = controls_from(dict(zip(_MACHINE, machine, strict=True)))
        made = _stack(scheme, values, names)
        applies, told = judged(controls, made)
        on_last, told_on = judged(controls, joined(controls.stacks[-1], made))
        lines = [_verdict(applies, told)]
        return lines + ([_verdict(on_last, told_on)] if told_on != told else []), not applies, not on_last


def _list_callbacks(app: dash.Dash) -> None:
    @app.callback(  # type: ignore[untyped-decorator]
        Output("schemes", "value", allow_duplicate=True),
        Input("beside", "n_clicks"), Input("upon", "n_clicks"), Input({"type": "drop", "index": ALL}, "n_clicks"),
        State("pick", "value"), State({"type": "option", "name": ALL}, "value"),
        State({"type": "option", "name": ALL}, "id"), State("schemes", "value"),
        prevent_initial_call=True,
    )  # fmt: skip
    def changed(
        _beside: Any, _upon: Any, dropped: list[Any], scheme: str | None, values: list[str],
        names: list[dict[str, str]], now: str,
    ) -> Any:  # fmt: skip
        cause, stacks = dash.ctx.triggered_id, _stacks(now)
        if isinstance(cause, dict):
            # A button that has just been made triggers, too, and was not pressed.
            return without(stacks, int(cause["index"])) if any(dropped) else no_update
        if not scheme:
            return no_update
        made = _stack(scheme, values, names)
        return beside(stacks, made) if cause == "beside" else upon(stacks, made)

    @app.callback(  # type: ignore[untyped-decorator]
        Output("stacks", "children"), Input("schemes", "value"), prevent_initial_call=True
    )
    def listed(schemes: str | None) -> Any:
        return _chips(_stacks(schemes))


def _verdict(applies: bool, told: str) -> Any:
    return html.P(told, className="" if applies else "refused")


def _stack(scheme: str, values: list[str], names: list[dict[str, str]]) -> str:
    return written(scheme, {name["name"]: value or "" for name, value in zip(names, values, strict=True)})


def _stacks(schemes: str | None) -> tuple[str, ...]:
    try:
        return controls_from({"schemes": schemes or ""}).stacks
    except KvwallError:
        return ("none",)


def _chips(stacks: tuple[str, ...]) -> list[Any]:
    return [
        html.Li(
            [
                html.Span(stack),
                html.Button("×", id={"type": "drop", "index": i}, type="button", title=f"without {stack}",
                            **{"aria-label": f"without {stack}"}),
            ]
        )
        for i, stack in enumerate(stacks)
    ]  # fmt: skip
