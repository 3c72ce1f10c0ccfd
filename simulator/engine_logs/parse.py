"""Reading the start-up log of a serving engine: which engine it is, and what its last complete start states."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from kvwall.hardware.errors import InputError
from kvwall.simulator.engine_logs.fact import EngineLog
from kvwall.simulator.engine_logs.llama_cpp import LLAMA_CPP
from kvwall.simulator.engine_logs.pattern import EngineGrammar
from kvwall.simulator.engine_logs.sglang import SGLANG
from kvwall.simulator.engine_logs.start import Start, StartReader
from kvwall.simulator.engine_logs.tensorrt_llm import TENSORRT_LLM
from kvwall.simulator.engine_logs.vllm import VLLM

ENGINES: tuple[EngineGrammar, ...] = (VLLM, SGLANG, TENSORRT_LLM, LLAMA_CPP)

#: A start prints a few thousand lines; what is larger is a log of serving, and its start can be cut out of it.
LARGEST_LOG_BYTES = 50_000_000

#: Nothing that is looked for stands further into a line.
LONGEST_LINE = 20_000

# Colours, as a terminal takes them and as they look once pasted ("^[[0;36m").
_COLOUR = re.compile(r"(?:\x1b|\^\[)\[[0-9;]{0,20}[A-Za-z]")
_RANK = re.compile(
    r"\((\w{1,40}[^()]{0,40}pid=\d{1,10})[^()]{0,40}\)"
    r"|\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d((?: (?:DP|PP|TP|EP)\d{1,5})+)\]",
    re.ASCII,
)


def read_engine_log(path: Path) -> EngineLog:
    """What the log file ``path`` states; the file is read line by line.

    :raises InputError: the file cannot be read, is empty, binary or larger than :data:`LARGEST_LOG_BYTES`, or holds
        no line of a known engine
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, expected a log file")
        size = path.stat().st_size
        if size > LARGEST_LOG_BYTES:
            raise InputError(f"{path}: {size:,} bytes is too large for a start-up log (at most {LARGEST_LOG_BYTES:,})")
        with path.open("rb") as raw:
            # PowerShell's ">" writes UTF-16.
            encoding = "utf-16" if raw.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        with path.open(encoding=encoding, errors="replace") as lines:
            return _parse(lines, str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def parse_engine_log(text: str, where: str) -> EngineLog:
    """What the log ``text`` states; ``where`` names it in errors.

    Of several starts in one text the last complete one is read: one that sized its KV pool or was refused.

    :raises InputError: ``text`` is empty, binary, too long, or holds no line of a known engine
    """
    if len(text) > LARGEST_LOG_BYTES:
        raise InputError(
            f"{where}: {len(text):,} characters is too large for a start-up log (at most {LARGEST_LOG_BYTES:,})"
        )
    return _parse(io.StringIO(text, newline=None), where)


def _parse(lines: Iterable[str], where: str) -> EngineLog:
    readers = [StartReader(grammar) for grammar in ENGINES]
    is_empty = True
    for line, text, rank in _clean(lines, where):
        is_empty = False
        for reader in readers:
            reader.take(line, text, rank)
    if is_empty:
        raise InputError(f"{where}: is empty, expected the start-up log of a serving engine")
    reader = max(readers, key=lambda candidate: candidate.matched_lines)
    if not reader.matched_lines:
        looked_for = "; ".join(
            f"{grammar.title} ({', '.join(repr(example) for example in grammar.examples)})" for grammar in ENGINES
        )
        raise InputError(f"{where}: no start-up line of a known serving engine found; looked for lines of {looked_for}")
    return _describe(reader.chosen_start(), reader, where)


def _clean(lines: Iterable[str], where: str) -> Iterator[tuple[int, str, str]]:
    """Each line that is not blank: its number, its text without colours, and the process that printed it."""
    for line, raw in enumerate(lines, start=1):
        if "\0" in raw:
            raise InputError(f"{where}: line {line}: is binary, expected the text of a start-up log")
        text = _COLOUR.sub("", raw[:LONGEST_LINE]).rstrip()
        if text:
            match = _RANK.search(text)
            yield line, text, (match[1] or match[2]).strip() if match else "main"


def _describe(start: Start, reader: StartReader, where: str) -> EngineLog:
    model = start.flags.get("model")
    return EngineLog(
        where=where,
        engine=reader.grammar.name,
        version=start.version,
        model=start.model or (str(model) if model is not None else None),
        flags={name: value for name, value in start.flags.items() if name != "model"},
        readings=start.readings(reader.grammar),
        refused=start.refused,
        first_line=start.first_line,
        last_line=start.last_line,
        starts=reader.count,
    )
