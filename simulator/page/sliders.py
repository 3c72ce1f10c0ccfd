"""Sliders over numbers that matter by their ratio: each step is a quarter of a power of two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dash import dcc, html


@dataclass(frozen=True)
class Slider:
    """One slider beside the field called ``name``.

    :ivar low: least exponent of two; ``high`` the largest
    :ivar start: the number that it stands at
    :ivar unit: of the number, with the space before it; empty for a count
    """

    name: str
    label: str
    low: int
    high: int
    start: float
    unit: str = ""
    whole: bool = True

    def text(self, power: float) -> str:
        """What the field says at this exponent."""
        value = 2.0**power
        return str(round(value)) if self.whole else f"{value:.3g}{self.unit}"

    def made(self) -> Any:
        """The slider with its label."""
        step = max(1, (self.high - self.low) // 4)
        marks = {power: _short(2.0**power) for power in range(self.low, self.high + 1, step)}
        slider = dcc.Slider(
            self.low, self.high, 0.25, value=round(4 * math.log2(self.start)) / 4, id=f"{self.name}-slider",
            marks=marks, updatemode="drag", included=False, allow_direct_input=False,
        )  # fmt: skip
        return html.Div([html.Label(self.label, id=f"{self.name}-label"), slider], className="slider")


#: The cards that the page starts with rent for about 4 USD and move about 3.4 TB/s.
SLIDERS = (
    Slider("context", "Context, tokens", 9, 20, 8192),
    Slider("batch", "Batch, sequences", 0, 10, 32),
    Slider("users", "Users", 0, 12, 32),
    Slider("bandwidth", "Device bandwidth, TB/s", -2, 4, 3.4, " TB/s", whole=False),
    Slider("price", "USD per GPU-hour", -2, 4, 4.0, whole=False),
)


def _short(count: float) -> str:
    if count >= 2**20:
        return f"{count / 2**20:g}m"
    return f"{count / 1024:g}k" if count >= 1024 else f"{count:g}"
