"""``kvwall dashboard``: the interactive page, or the same as one file."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.dashboard import DashboardAnswer
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, save
from kvwall.simulator.page.controls import Controls
from kvwall.workloads.scenario import SCENARIOS


def command(
    scenario: Annotated[
        str | None, typer.Argument(metavar="[SCENARIO]", help="a scenario, or its YAML", show_default=False)
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="write one HTML file instead of serving", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option(help="port on this machine", min=1, max=65535)] = 8050,
    json: Json = False,
) -> None:
    """The interactive page in a browser on this machine, or the same as one file that needs no server."""
    controls = _start(scenario)
    if export is not None:
        emit(_export(controls, export), json, _render)
        return
    try:
        from kvwall.simulator.page.app import make_app
    except ImportError:
        raise InputError("kvwall dashboard: needs dash (pip install 'kvwall[dashboard]')") from None
    _check_port(port)
    from kvwall.simulator.page.views import all_views

    app, views = make_app(), all_views()
    link = f"http://127.0.0.1:{port}/{f'?{controls.query}' if controls.query else ''}"
    emit(DashboardAnswer(views=tuple(views), address=link), json, _render)
    for view in views.values():
        # What takes a view long and depends on nobody's question is begun before it is asked for.
        getattr(view, "prepare", lambda: None)()
    app.run(host="127.0.0.1", port=port, debug=False)


def _start(scenario: str | None) -> Controls:
    """The controls that a scenario means: its model, machine, lengths, users and targets."""
    if scenario is None:
        return Controls()
    from kvwall.simulator.page.scenario_controls import controls_of_scenario

    return controls_of_scenario(SCENARIOS.load(SCENARIOS.resolve(scenario)))


def _export(controls: Controls, path: Path) -> DashboardAnswer:
    from kvwall.simulator.page.export import page_of
    from kvwall.simulator.page.grid import grid_of
    from kvwall.simulator.page.views import all_views

    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--export {path}: {'is a folder' if path.is_dir() else 'its folder does not exist'}")
    title = f"kvwall: {controls.model} on {controls.on}"
    views = {name: view(controls) for name, view in all_views().items()}
    save(path, page_of(views, title, grid_of(controls)))
    return DashboardAnswer(views=tuple(views), file=str(path), bytes=path.stat().st_size)


def _render(answer: DashboardAnswer, screen: Console) -> None:
    if answer.file is not None:
        screen.print(f"written: {answer.file} ({(answer.bytes or 0) / 1e6:.1f} MB, {', '.join(answer.views)})")
    else:
        screen.print(f"{answer.address} (Ctrl-C ends)")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"--port {port}: cannot be used ({error.strerror}); try --port {port + 1}") from None
