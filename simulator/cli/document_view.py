"""A document as people read it: keys and values in columns, units as they are spoken, one block after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_KIB = 2.0**10

#: Suffix of a key, longest first: what one of the unit is called, and the prefixes people use with it.
_UNITS: tuple[tuple[str, str, tuple[tuple[float, str], ...]], ...] = (
    ("_flops_per_byte", "FLOP/B", ((1.0, ""),)),
    ("_bytes_per_s", "B/s", ((1e12, "T"), (1e9, "G"), (1e6, "M"))),
    ("_flops_per_s", "FLOP/s", ((1e12, "T"), (1e9, "G"))),
    ("_bytes_per_token", "B/token", ((_KIB, "Ki"), (1.0, ""))),
    ("_bytes_per_sequence", "B/sequence", ((_KIB**3, "Gi"), (_KIB**2, "Mi"), (_KIB, "Ki"), (1.0, ""))),
    ("per_byte_joules", "J/B", ((1e-12, "p"),)),
    ("per_flop_joules", "J/FLOP", ((1e-12, "p"),)),
    ("per_hour_usd", "USD/h", ((1.0, ""),)),
    ("_bytes", "B", ((_KIB**4, "Ti"), (_KIB**3, "Gi"), (_KIB**2, "Mi"), (_KIB, "Ki"), (1.0, ""))),
    ("_usd", "USD", ((1.0, ""),)),
    ("_hz", "Hz", ((1e9, "G"), (1e6, "M"))),
    ("_w", "W", ((1.0, ""),)),
    ("_s", "s", ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))),
)

#: Blocks whose every number is a rate of FLOP, whatever its key.
_PEAKS = "_peaks"

#: Endings that only say the unit, so that the value need not be labelled with them.
_SUFFIXES = ("_bytes_per_s", "_flops_per_s", "_joules", "_bytes", "_usd", "_hz", "_w", "_s")


def print_document(document: Mapping[str, Any], screen: Console) -> None:
    """Scalars first, then every block under its name; what is unset is left out."""
    blocks = {key: value for key, value in document.items() if _is_block(value)}
    _print_pairs([(key, value) for key, value in document.items() if key not in blocks], "", screen)
    for key, value in blocks.items():
        _print_block(key, value, screen, 0)


def _print_block(key: str, value: Any, screen: Console, depth: int) -> None:
    screen.print(Padding(Text(_label(key), style="bold"), (0, 0, 0, 2 * depth)))
    if isinstance(value, Mapping):
        inner = {k: v for k, v in value.items() if _is_block(v) and not _is_band(v)}
        _print_pairs([(k, v) for k, v in value.items() if k not in inner], key, screen, depth + 1)
        for name, block in inner.items():
            _print_block(name, block, screen, depth + 1)
        return
    for entry in value:
        text = inline(entry, key) if isinstance(entry, Mapping) else scalar(key, entry)
        _print_pairs([("-", text)], "", screen, depth + 1)


def _print_pairs(pairs: Iterable[tuple[str, Any]], block: str, screen: Console, depth: int = 0) -> None:
    """Labels in one column and values in another, which folds."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in pairs:
        if value in (None, "", [], {}, ()):
            continue
        shown = inline(value, key) if isinstance(value, Mapping) else scalar(key, value, block)
        grid.add_row(Text(_label(key)), Text(shown, style="dim" if key == "source" else ""))
    if grid.row_count:
        screen.print(Padding(grid, (0, 0, 0, 2 * depth)))


def _is_block(value: Any) -> bool:
    """A mapping, a list of mappings, or a list of sentences: something with lines of its own."""
    if isinstance(value, Mapping):
        return bool(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(isinstance(entry, Mapping) or (isinstance(entry, str) and " " in entry) for entry in value)
    return False


def _is_band(value: Any) -> bool:
    return isinstance(value, Mapping) and {"low", "mid", "high"} <= set(value)


def _label(key: str) -> str:
    suffix = next((suffix for suffix in _SUFFIXES if key.endswith(suffix) and key != suffix), "")
    return key.removesuffix(suffix).replace("_", " ")


def inline(mapping: Mapping[str, Any], key: str = "") -> str:
    """A small mapping on one line: a band as ``mid (low to high)``, anything else as ``key value, key value``."""
    if _is_band(mapping):
        low, mid, high = (scalar(key, mapping[part]) for part in ("low", "mid", "high"))
        source = f"; {mapping['source']}" if mapping.get("source") else ""
        return f"{mid} ({low} to {high}){source}"
    parts = []
    for name, value in mapping.items():
        if value in (None, "", [], {}, ()) or value is False:
            continue
        shown = f"({inline(value, name)})" if isinstance(value, Mapping) else scalar(name, value)
        parts.append(_label(name) if value is True else f"{_label(name)} {shown}")
    return ", ".join(parts)


def scalar(key: str, value: Any, block: str = "") -> str:
    """One value in the unit that its key (or its block) names."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return inline(value, key)
    if isinstance(value, (list, tuple)):
        return ", ".join(scalar(key, entry, block) for entry in value)
    if not isinstance(value, (int, float)):
        return str(value)
    if block.endswith(_PEAKS):
        return _with_unit(value, "FLOP/s", ((1e12, "T"), (1e9, "G")))
    for suffix, unit, prefixes in _UNITS:
        if key.endswith(suffix):
            return _with_unit(value, unit, prefixes)
    return f"{value:,}" if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15) else f"{value:.6g}"


def _with_unit(value: float, unit: str, prefixes: Sequence[tuple[float, str]]) -> str:
    """``value`` with the largest prefix that leaves at least one of it, else the smallest."""
    scale, prefix = next(((s, p) for s, p in prefixes if abs(value) >= s), prefixes[-1])
    number = value / scale
    digits = f"{number:,.0f}" if abs(number) >= 1e4 else f"{number:.5g}"
    return f"{digits} {prefix}{unit}" if value else f"0 {unit}"
