"""``kvwall list``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

from kvwall.simulator.answers.catalogue import ListAnswer, catalogue
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, table, three

_KINDS = "devices, models, schemes, techniques, weights, engines, systems, scenarios, calibrations or traces"


def command(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help=_KINDS, show_default=False)] = None,
    filter: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="words that a row must hold", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """What kvwall knows by name: devices, models, schemes, formats, engines, nodes, scenarios, calibrations, traces.

    Words after the kind keep the rows that hold all of them: kvwall list models qwen moe.
    """
    emit(catalogue(kind, " ".join(filter) if filter else None), json, render)


def render(answer: ListAnswer, screen: Console) -> None:
    """One table; what each kind shows is in ``_LAYOUTS``."""
    layout = _LAYOUTS[answer.kind]
    if answer.rows:
        cells = [layout.cells(row) for row in answer.rows]
        screen.print(table(f"{len(cells)} {layout.title}", layout.columns, cells, left=layout.left, whole=1))


class _Layout:
    """What a table of one kind shows: its title, its columns, how many of them are text, and a row's cells."""

    def __init__(self, title: str, columns: str, left: int, cells: Callable[[Any], tuple[str, ...]]) -> None:
        self.title = title
        self.columns = tuple(columns.split("|"))
        self.left = left
        self.cells = cells


def _scaled(value: float | None, unit: float) -> str:
    return "-" if value is None else three(value / unit)


def _billions(count: int) -> str:
    return f"{count / 1e9:.1f}" if count >= 1e9 else f"{count / 1e9:.2f}"


def _tokens(count: int) -> str:
    for unit, name in ((2**20, "m"), (2**10, "k")):
        if count % unit == 0:
            return f"{count // unit}{name}"
    return f"{count:,}"


_LAYOUTS: dict[str, _Layout] = {
    "kinds": _Layout("kinds (kvwall list KIND)", "kind|what it is|count", 2, lambda r: (r.name, r.what, str(r.count))),
    "devices": _Layout(
        "devices: dense peaks, links one way",
        "name|architecture|GiB|TB/s|TFLOP/s|in|fp8|link GB/s|$/h",
        2,
        lambda r: (
            r.name,
            r.architecture,
            _scaled(r.memory_bytes, 2**30),
            _scaled(r.memory_bandwidth_bytes_per_s, 1e12),
            _scaled(r.matrix_flops_per_s, 1e12),
            r.matrix_dtype,
            _scaled(r.fp8_flops_per_s, 1e12),
            _scaled(r.link_bytes_per_s, 1e9),
            _scaled(r.usd_per_hour, 1),
        ),
    ),
    "models": _Layout(
        "models: parameters in billions, cache of one sequence in 16 bits",
        "name|attention: layers, query/KV heads|total|active|KiB/token|fixed MiB|context",
        2,
        lambda r: (
            r.name,
            r.attention,
            _billions(r.parameters),
            _billions(r.active_parameters),
            _scaled(r.kv_bytes_per_token, 2**10),
            _scaled(r.window_bytes_per_sequence + r.state_bytes_per_sequence, 2**20),
            _tokens(r.max_context_tokens),
        ),
    ),
    "schemes": _Layout(
        "schemes (kvwall show scheme NAME for equations and limits)",
        "name|what it does|shrinks|options",
        4,
        lambda r: (r.name, r.title, ", ".join(r.axes) or "-", ", ".join(r.options) or "-"),
    ),
    "weights": _Layout(
        "formats of weights: bits with all metadata",
        "name|also|product in|or in|group|payload|bits/weight",
        4,
        lambda r: (
            r.name,
            ", ".join(r.aliases) or "-",
            r.compute_dtype,
            r.fallback_dtype,
            "-" if r.group_size is None else str(r.group_size),
            f"{r.payload_bits:g}",
            f"{r.bits_per_weight:g}",
        ),
    ),
    "engines": _Layout(
        "engine profiles: what the memory fraction is a fraction of",
        "name|engine|versions|fraction of|default|block",
        4,
        lambda r: (
            r.name,
            r.engine,
            r.versions,
            r.utilization_of,
            "derived" if r.utilization is None else f"{r.utilization:g}",
            str(r.block_tokens),
        ),
    ),
    "systems": _Layout(
        "nodes",
        "name|usual node of|devices|host GiB|SSD TB|network GB/s",
        2,
        lambda r: (
            r.name,
            ", ".join(r.devices) or "-",
            str(r.devices_per_node),
            _scaled(r.host_memory_bytes, 2**30),
            _scaled(r.ssd_bytes, 1e12),
            _scaled(r.network_bytes_per_s, 1e9),
        ),
    ),
    "scenarios": _Layout(
        "scenarios (kvwall plan NAME)",
        "name|what|model|on|schemes",
        5,
        lambda r: (r.name, r.title, r.model, r.on, "; ".join(r.schemes)),
    ),
    "calibrations": _Layout(
        "calibrations",
        "name|calibrated|source",
        3,
        lambda r: (r.name, "yes" if r.calibrated else "no", r.source),
    ),
    "techniques": _Layout(
        "published systems that are no scheme (schemes: kvwall list schemes)",
        "name|what it is|how to ask for it",
        3,
        lambda r: (r.name, r.title, r.ask),
    ),
    "traces": _Layout(
        "public formats of traces; a trace is a file given by its path",
        "name|what|columns|source",
        4,
        lambda r: (r.name, r.title, ", ".join(r.columns), r.source),
    ),
}
