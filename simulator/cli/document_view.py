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
    ("_bytes", "B", ((_KIB**4, "Ti"), (_KIB**3, "Gi"), (_KIB**2, "Mi"), (_KIB, "Ki"), (1.0, ""))),
    ("_usd", "USD/h", ((1.0, ""),)),
    ("_hz", "Hz", ((1e9, "G"), (1e6, "M"))),
    ("_w", "W", ((1.0, ""),)),
    ("_s", "s", ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))),
)

#: Blocks whose every number is a rate of FLOP, whatever its key.
_PEAKS = "_peaks"

#: Endings that only say the unit, so that the label can do without them.
_ENDINGS = (*(suffix for suffix, _, _ in _UNITS if suffix.startswith("_")), "_joules")

#: Lists of names, which read well on one line even where a name holds a space.
_NAMES = frozenset({"aliases", "columns", "schemes"})

#: Values that say nothing.
_UNSET: tuple[Any, ...] = (None, "", [], {}, ())


def print_document(document: Mapping[str, Any], screen: Console) -> None:
    """Scalars first, then every block under its name; what is unset is left out."""
    _print_mapping(document, "", screen, 0)


def _print_mapping(mapping: Mapping[str, Any], name: str, screen: Console, depth: int) -> None:
    blocks = {key: value for key, value in mapping.items() if _is_block(key, value)}
    pairs = [(key, value) for key, value in mapping.items() if key not in blocks]
    _print_pairs(sorted(pairs, key=lambda pair: pair[0] == "source"), name, screen, depth)
    for key, value in blocks.items():
        screen.print(Padding(Text(_label(key), style="bold"), (0, 0, 0, 2 * depth)))
        if isinstance(value, Mapping):
            _print_mapping(value, key, screen, depth + 1)
            continue
        for entry in value:
            _print_pairs([("-", entry)], "", screen, depth + 1)


def _print_pairs(pairs: Iterable[tuple[str, Any]], block: str, screen: Console, depth: int = 0) -> None:
    """Labels in one column and values in another, which folds."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in pairs:
        if value in _UNSET:
            continue
        shown = inline(value, key) if isinstance(value, Mapping) else scalar(key, value, block)
        grid.add_row(Text(_label(key)), Text(shown, style="dim" if key == "source" else ""))
    if grid.row_count:
        screen.print(Padding(grid, (0, 0, 0, 2 * depth)))


def _is_block(key: str, value: Any) -> bool:
    """A mapping, a list of mappings, or a list of sentences: something with lines of its own."""
    if isinstance(value, Mapping):
        return bool(value) and _band(value) is None
    if isinstance(value, Sequence) and not isinstance(value, str) and key not in _NAMES:
        return any(isinstance(entry, Mapping) or (isinstance(entry, str) and " " in entry) for entry in value)
    return False


def _band(value: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The keys of low, mid and high (with one unit), if ``value`` is a band."""
    keys = tuple(next((key for key in value if key.startswith(part)), "") for part in ("low", "mid", "high"))
    low, mid, high = keys
    return (low, mid, high) if all(keys) and set(value) <= {*keys, "source"} else None


def _label(key: str) -> str:
    ending = next((ending for ending in _ENDINGS if key.endswith(ending) and key != ending), "")
    return key.removesuffix(ending).replace("_", " ")


def inline(mapping: Mapping[str, Any], key: str = "") -> str:
    """A small mapping on one line: a band as ``mid (low to high)``, anything else as ``key value, key value``."""
    band = _band(mapping)
    if band:
        unit_key = key if band[0] == "low" else band[0]
        low, mid, high = (scalar(unit_key, mapping[part]) for part in band)
        source = f"; {mapping['source']}" if mapping.get("source") else ""
        return f"{mid} ({low} to {high}){source}"
    parts = []
    for name, value in mapping.items():
        if value in _UNSET or value is False:
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
        return " ".join(str(value).split())
    if block.endswith(_PEAKS):
        return _with_unit(value, "FLOP/s", ((1e12, "T"), (1e9, "G")))
    for suffix, unit, prefixes in _UNITS:
        if key.endswith(suffix):
            return _with_unit(value, unit, prefixes)
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.6g}"


def _with_unit(value: float, unit: str, prefixes: Sequence[tuple[float, str]]) -> str:
    """``value`` with the largest prefix that leaves at least one of it, else the smallest."""
    scale, prefix = next(((s, p) for s, p in prefixes if abs(value) >= s), prefixes[-1])
    number = value / scale
    digits = f"{number:,.0f}" if abs(number) >= 1e4 else f"{number:.5g}"
    return f"{digits} {prefix}{unit}" if value else f"0 {unit}"
