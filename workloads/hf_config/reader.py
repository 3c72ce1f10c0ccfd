"""One config.json: typed look-ups that name the file and the key, and a check that nothing important was overlooked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kvwall.hardware.errors import InputError

_LARGEST_COUNT = 100_000_000

#: Keys that, in some family, change what is cached or which weights exist. One that is set and that the reader of the
#: family never asked for means the family's description is not enough: better an error than a wrong number.
_CHANGES_THE_LAYOUT = re.compile(
    r"sliding|window|layer_types?$|layers_block|block_type|layer_pattern|override_pattern|lora_rank"
    r"|^index_|indexer|^linear_|^mamba_|^ssm_|^swa_|^moe_|expert|kv_shared|kv_heads|num_key_value|attention_interval"
    r"|attention_chunk|attn_layer|attn_type|^no_rope|cross_attention|compress|multi_query|qk_norm|qk_layernorm|k_eq_v|sink"
    r"|double_wide|output_gate|per_layer_input|global_head_dim|v_head_dim"
)


class Config:
    """The keys of one config.json, or of a section of it.

    :param data: the parsed mapping
    :param where: the file, for errors
    :param prefix: ``"text_config."`` for a section, so that errors name the key as it stands in the file
    :param outer: the config that holds this section
    """

    def __init__(self, data: Mapping[str, Any], where: str, prefix: str = "", outer: Config | None = None) -> None:
        self._data = data
        self._outer = outer
        self._asked: set[str] = set()
        self.where = where
        self.prefix = prefix

    def error(self, key: str, problem: str) -> InputError:
        """An error about ``key`` of this file."""
        return InputError(f"{self.where}: {self.prefix}{key}: {problem}")

    def value(self, key: str) -> Any:
        """What stands under ``key``; None when it is absent or null."""
        self._asked.add(key)
        return self._data.get(key)

    def first(self, *keys: str) -> tuple[str, Any]:
        """The first of ``keys`` that is set, with its value; the first key and None when none is."""
        found = [(key, value) for key in keys if (value := self.value(key)) is not None]
        return found[0] if found else (keys[0], None)

    def optional_count(self, *keys: str, lowest: int = 1) -> int | None:
        """A whole number of at least ``lowest`` under one of ``keys`` (synonyms), or None."""
        key, value = self.first(*keys)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= _LARGEST_COUNT:
            raise self.error(key, f"{value!r:.60} is not a whole number from {lowest} to {_LARGEST_COUNT}")
        return value

    def count(self, *keys: str, default: int | None = None) -> int:
        """A positive whole number under one of ``keys`` (synonyms); an error when absent without a ``default``."""
        value = self.optional_count(*keys)
        if value is not None:
            return value
        if default is None:
            raise InputError(f"{self.where}: missing key {self.prefix + keys[0]!r}")
        return default

    def flag(self, key: str, default: bool) -> bool:
        """A boolean under ``key``."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, f"{value!r:.60} is not true or false")
        return value

    def text(self, key: str) -> str | None:
        """A text under ``key``, or None."""
        value = self.value(key)
        if value is not None and not isinstance(value, str):
            raise self.error(key, f"{value!r:.60} is not a text")
        return value

    def indices(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers under ``key``; empty when absent."""
        value = self.value(key)
        if value is None:
            return ()
        whole = isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
        if not whole:
            raise self.error(key, f"{value!r:.60} is not a list of whole numbers")
        return tuple(value)

    def choices(self, key: str, allowed: Mapping[str, str], layers: int) -> tuple[str, ...] | None:
        """One of ``allowed`` per layer under ``key``, translated; None when absent.

        :raises InputError: an entry that is not allowed, or not one entry per layer
        """
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, list | str):
            raise self.error(key, f"{value!r:.60} is not a list of layer kinds")
        for index, entry in enumerate(value):
            if not isinstance(entry, str) or entry not in allowed:
                raise self.error(f"{key}[{index}]", f"unknown layer kind {entry!r:.60} (allowed: {', '.join(allowed)})")
        if len(value) != layers:
            raise self.error(key, f"has {len(value)} entries for {layers} layers")
        return tuple(allowed[entry] for entry in value)

    def section(self, key: str) -> Config | None:
        """The mapping under ``key`` as a config of its own, or None."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, f"{value!r:.60} is not a mapping")
        return Config(value, self.where, f"{self.prefix}{key}.", self)

    def tied(self, default: bool) -> bool:
        """Whether embedding and output head are one matrix; a wrapper may say so for the section it holds."""
        if self.value("tie_word_embeddings") is None and self._outer is not None:
            return self._outer.tied(default)
        return self.flag("tie_word_embeddings", default)

    def ignore(self, *keys: str) -> None:
        """Mark ``keys`` as known to change neither cache nor weights."""
        self._asked.update(keys)

    def refuse_overlooked(self, model_type: str) -> None:
        """An error for a key that is set, changes the layout in some family, and was never asked for."""
        for key, value in self._data.items():
            if key not in self._asked and value not in (None, False, 0, [], {}) and _CHANGES_THE_LAYOUT.search(key):
                raise self.error(key, f"{value!r:.60} is not understood for the model_type {model_type!r}")
