"""The starts in a log: an engine that was restarted writes several into one file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kvwall.simulator.engine_logs.fact import Fact, Reading
from kvwall.simulator.engine_logs.flags import Flag, command_flags, configuration_flags, flag_value
from kvwall.simulator.engine_logs.pattern import EngineGrammar, Keep, Stage, combine, first_match

_PROCESS_ID = re.compile(r"pid=\d+")
_COMPLETE = frozenset({"kv_bytes", "kv_tokens", "gpu_blocks", "kv_all_ranks_bytes", "needed_bytes"})


@dataclass
class Start:
    """What was read of one start so far; ``facts`` are kept by name and by the rank that printed them."""

    first_line: int
    last_line: int
    version: str | None = None
    model: str | None = None
    flags: dict[str, Flag] = field(default_factory=dict)
    facts: dict[str, dict[str, list[Fact]]] = field(default_factory=dict)
    markers: set[str] = field(default_factory=set)
    refused: bool = False
    stage: Stage = Stage.CONFIGURATION

    @property
    def is_complete(self) -> bool:
        """Whether the engine sized its KV pool, or said that it cannot."""
        return self.refused or not _COMPLETE.isdisjoint(self.facts)

    def readings(self, grammar: EngineGrammar) -> dict[str, Reading]:
        """One reading a fact: repeated prints of a rank combined, then the smallest and the largest over ranks."""
        readings = {}
        for name, by_rank in self.facts.items():
            keep = grammar.keep.get(name, Keep.FINEST)
            facts = [combine(prints, keep) for prints in by_rank.values()]
            lowest = min(facts, key=lambda fact: fact.value)
            highest = max(facts, key=lambda fact: fact.value)
            readings[name] = Reading(lowest, highest, len(facts))
        return readings


class StartReader:
    """Reads the lines of a log as one engine would have written them, start by start."""

    def __init__(self, grammar: EngineGrammar) -> None:
        self.grammar = grammar
        self.matched_lines = 0
        self.count = 0
        self._current: Start | None = None
        self._best: Start | None = None

    def take(self, line: int, text: str, rank: str) -> None:
        """Read ``text``, which is line ``line`` and was printed by the process ``rank``."""
        if self.grammar.is_silent(text):
            return
        marker = self._marker(text, rank)
        if marker and self._current and _is_restart(self._current, marker):
            self._finish()
            self._current = None
        start = self._current or Start(line, line)
        is_configured = self._take_configuration(start, text) or bool(marker)
        is_stated = self._take_facts(start, line, text, rank)
        if any(refusal in text for refusal in self.grammar.refusals):
            start.refused = is_stated = True
        if is_stated or first_match(self.grammar.start, text):
            self.matched_lines += 1
        if is_stated or is_configured:
            start.last_line = line
            if marker:
                start.markers.add(marker)
            if self._current is None:
                self._current = start
                self.count += 1

    def chosen_start(self) -> Start:
        """The last complete start; where none is complete, the one that states most."""
        self._finish()
        if self._best is None:
            raise ValueError("no line of this engine was read")
        return self._best

    def _marker(self, text: str, rank: str) -> str | None:
        """What ``text`` announces if only a new start prints it; process ids change from start to start."""
        match = first_match(self.grammar.start, text)
        said = match[0] if match else next((word for word in self.grammar.command if word in text), None)
        return f"{_PROCESS_ID.sub('', rank)}: {said}" if said else None

    def _finish(self) -> None:
        current, best = self._current, self._best
        if current is None or current is best:
            return
        if best is None or current.is_complete or (not best.is_complete and len(current.facts) >= len(best.facts)):
            self._best = current

    def _take_configuration(self, start: Start, text: str) -> bool:
        grammar = self.grammar
        flags: dict[str, Flag] = {}
        if any(word in text for word in grammar.configuration):
            flags = configuration_flags(text, grammar.flags)
        elif any(word in text for word in grammar.command):
            flags = command_flags(text, grammar.flags)
        for name, flag_line in grammar.flag_lines:
            match = flag_line.search(text)
            value = flag_value(match[1]) if match else None
            if value is not None:
                flags[name] = value
        version = first_match(grammar.versions, text)
        model = first_match(grammar.models, text)
        # The configuration says "auto" first; what it became is said later.
        settled = {name: value for name, value in start.flags.items() if value != "auto" or name not in flags}
        start.flags = flags | settled
        start.version = start.version or (version[1].rstrip(".,;)") if version else None)
        start.model = start.model or (model[1] if model else None)
        return bool(flags or version or model)

    def _take_facts(self, start: Start, line: int, text: str, rank: str) -> bool:
        is_matched = False
        for pattern in self.grammar.patterns:
            for name, fact in pattern.facts(text, line, rank):
                start.facts.setdefault(name, {}).setdefault(fact.rank, []).append(fact)
                start.stage = max(start.stage, pattern.stage)
                is_matched = True
        return is_matched


def _is_restart(start: Start, marker: str) -> bool:
    """Whether ``marker`` belongs to the start after ``start``.

    Data-parallel engines announce themselves one by one, so while weights load only a repeated marker is a restart.
    """
    return start.stage >= Stage.POOL or start.refused or (start.stage is Stage.WEIGHTS and marker in start.markers)
