"""What a view gives to take away: its numbers as CSV or JSON, or itself as one file that needs no server."""

from __future__ import annotations

import csv
import io

from kvwall.simulator.answers.compare import CompareRow
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.export import page_of
from kvwall.simulator.page.views import all_views, comparison

_COLUMNS = (
    "scheme", "batch", "context", "step_s_low", "step_s", "step_s_high", "ideal_step_s", "tokens_per_s", "bound_by",
    "fits", "kv_stored_bytes", "kv_read_bytes", "usd_per_million_tokens", "joules_per_token",
)  # fmt: skip


def download(kind: str, view: str, controls: Controls) -> tuple[str, str]:
    """The text and the name of a file.

    :param kind: ``csv`` or ``json`` of the comparison at the point of the controls, ``html`` of the view
    """
    if kind == "html":
        return page_of({view: all_views()[view](controls)}), f"kvwall-{view.lower()}.html"
    answer = comparison(controls)
    if kind == "json":
        return answer.model_dump_json(indent=2), "kvwall-compare.json"
    rows = [row for row in answer.rows if isinstance(row, CompareRow)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in rows:
        spread = {"step_s_low": row.step_s.low, "step_s": row.step_s.mid, "step_s_high": row.step_s.high}
        plain = {**row.model_dump(), **spread, "tokens_per_s": row.tokens_per_s.mid}
        writer.writerow([plain[name] for name in _COLUMNS])
    return text.getvalue(), "kvwall-compare.csv"
