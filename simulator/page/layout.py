"""The page's furniture: controls with labels, views as tabs, and places for what they show."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from kvwall.hardware.device import DEVICES
from kvwall.hardware.engine import ENGINES
from kvwall.simulator.page.builder import builder
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.sliders import SLIDERS
from kvwall.simulator.stack import scheme_names
from kvwall.workloads.model_spec import MODELS
from kvwall.workloads.weight_format import WEIGHTS

#: Fields of the controls, with what a person reads and an example; those with a list of values are chosen from it.
FIELDS: tuple[tuple[str, str, str], ...] = (
    ("model", "Model", "llama-3.1-8b"),
    ("on", "Device and count", "h100:8"),
    ("engine", "Engine", "vllm"),
    ("weights", "Weights", "as published"),
    ("schemes", "Schemes, with ; between them", "none;fp8;kivi:bits=2+offload:fraction=0.5"),
    ("batch", "Batch, sequences", "32"),
    ("context", "Context, tokens", "8k"),
    ("users", "Users", "32"),
    ("input", "Prompt, tokens", "4k"),
    ("output", "Answer, tokens", "500"),
    ("ttft_ms", "TTFT at most, ms", "none"),
    ("tpot_ms", "TPOT at most, ms", "none"),
    ("bandwidth", "Device bandwidth", "data sheet, or 4 TB/s"),
    ("price", "USD per GPU-hour", "usual rent"),
)

NAMES = tuple(name for name, _, _ in FIELDS)
#: Fields before the builder of stacks, which follows the list of schemes.
_SCHEMES = NAMES.index("schemes") + 1
#: Places for figures: the most that a view shows.
MOST_FIGURES = 5
_GRAPH: dict[str, Any] = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"scale": 2}}


def layout(views: tuple[str, ...]) -> html.Div:
    """The whole page."""
    start = Controls()
    return html.Div(
        [
            dcc.Location(id="link", refresh=False),
            html.Header([html.H1("kvwall"), html.P("What a KV cache costs: what fits, how fast it runs, and why.")]),
            html.Main(
                [
                    html.Form(
                        [
                            *(_field(*field, start) for field in FIELDS[:_SCHEMES]), builder(),
                            *(_field(*field, start) for field in FIELDS[_SCHEMES:]),
                            *(slider.made() for slider in SLIDERS), _upload(),
                        ],
                        id="controls", **{"aria-label": "Question"},
                    ),
                    html.Section(
                        [
                            dcc.Tabs(id="view", value=views[0], children=[dcc.Tab(label=v, value=v) for v in views]),
                            html.P(id="says", role="status", **{"aria-live": "polite"}),
                            html.P(id="error", role="alert"),
                            html.P(id="equation", role="status", **{"aria-live": "polite"}),
                            html.Div([_place(i) for i in range(MOST_FIGURES)], id="figures"),
                            html.Details(
                                [
                                    html.Summary("Copy as command, download"),
                                    html.Pre(id="command"),
                                    dcc.Clipboard(target_id="command", title="copy the command"),
                                    html.Button("CSV", id="csv", type="button"),
                                    html.Button("JSON", id="json", type="button"),
                                    html.Button("HTML", id="html", type="button"),
                                    dcc.Download(id="download"),
                                ]
                            ),
                        ],
                        **{"aria-label": "Answer"},
                    ),
                ]
            ),
            *(_choices(name, values) for name, values in _lists().items()),
        ]
    )  # fmt: skip


def _lists() -> dict[str, tuple[str, ...]]:
    engines = tuple(sorted({ENGINES.load(name).engine for name in ENGINES.names}))
    return {
        "model": tuple(MODELS.names),
        "on": tuple(DEVICES.names),
        "engine": engines,
        "weights": tuple(WEIGHTS.names),
        "schemes": scheme_names(),
    }


def _field(name: str, label: str, example: str, start: Controls) -> Any:
    box = dcc.Input(
        id=name, type="text", value=getattr(start, name), placeholder=example, debounce=0.4, list=f"{name}-list",
        maxLength=400, autoComplete="off",
    )  # fmt: skip
    return html.Div([html.Label(label, htmlFor=name), box], className=f"field {name}")


def _place(index: int) -> Any:
    """A place for a figure; it stays when another figure comes into it."""
    graph = dcc.Graph(id=f"figure-{index}", figure={}, config=_GRAPH, className="graph")
    return html.Div(graph, id=f"place-{index}", className="away")


def _upload() -> Any:
    return html.Div(
        [
            html.Label("Your own model", id="upload-label"),
            dcc.Upload("Drop a config.json, or press to choose one", id="upload", multiple=False, max_size=200_000),
        ],
        className="field upload",
    )


def _choices(name: str, values: tuple[str, ...]) -> Any:
    return html.Datalist([html.Option(value=value) for value in values], id=f"{name}-list")
