"""The Dash application: its layout, its callbacks, and what no browser may do."""

from __future__ import annotations

from pathlib import Path

import dash
from flask import Response

from kvwall.simulator.page.builder import build_callbacks
from kvwall.simulator.page.layout import layout
from kvwall.simulator.page.placing import place_callback
from kvwall.simulator.page.showing import download_callback, equation_callbacks, view_callback
from kvwall.simulator.page.views import all_views

#: Everything comes from this server; styles are set by the figures, code never by a page's text.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; script-src 'self' {hashes}; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)


def make_app() -> dash.Dash:
    """The application, ready to serve; it keeps nothing of anybody."""
    views = all_views()
    app = dash.Dash(
        __name__, title="kvwall", update_title="", assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True, meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )  # fmt: skip
    app.layout = layout(tuple(views))
    view_callback(app, views)
    equation_callbacks(app)
    place_callback(app)
    build_callbacks(app)
    download_callback(app)
    _strict(app)
    return app


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
