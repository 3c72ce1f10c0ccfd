"""Which profile of an engine a name and a version mean."""

from __future__ import annotations

import re

from kvwall.hardware.engine import ENGINES, Engine
from kvwall.hardware.errors import InputError, canonical, unknown_name
from kvwall.hardware.validation import shortened

_NEWEST = frozenset({"latest", "main", "newest", "nightly"})
_VERSION = re.compile(r"v?([0-9]{1,9}(?:\.[0-9]{1,9})*)(?:[-.+]?[a-z][a-z0-9.+]*|\.x)?(?:\+.*)?", re.IGNORECASE)
_MONTH = re.compile(r"(20[0-9]{2})(?:-([0-9]{2})(?:-[0-9]{2})?)?")


def engine_families() -> dict[str, tuple[str, ...]]:
    """Every engine with its profiles, oldest first."""
    families: dict[str, list[str]] = {}
    for name, engine in ENGINES.all().items():
        families.setdefault(engine.engine, []).append(name)
    return {
        family: tuple(sorted(names, key=lambda name: _number(ENGINES.load(name).from_version or "0")))
        for family, names in families.items()
    }


def find_engine(name: str, version: str | None = None) -> Engine:
    """The profile of an engine that covers ``version``; the newest one when no version is stated.

    :param name: an engine (``vllm``), an alias, a profile (``vllm-0.9``) or the path of a YAML file
    :param version: ``0.9.2``, ``v0.28.1rc1``, ``latest``, or the month or year of use, ``2025-08``
    :raises UnknownNameError: no such engine
    :raises InputError: not a version, or the named profile does not cover it
    """
    if name.endswith((".yaml", ".yml", ".json")):
        return ENGINES.load(name)
    families = engine_families()
    profile = {canonical(known): known for known in ENGINES.names}.get(canonical(name))
    family = _family(name, families)
    if profile is not None and family is None:
        engine = ENGINES.load(profile)
        if version is not None and _chosen(engine.engine, families[engine.engine], version) is not engine:
            raise InputError(
                f"--engine-version {shortened(version)}: the profile {profile!r} covers {versions(engine)}"
            )
        return engine
    if family is None:
        raise unknown_name("engine", name, {*families, *ENGINES.names}, "kvwall list engines")
    return _chosen(family, families[family], version)


def versions(engine: Engine) -> str:
    """The range of versions that a profile covers, in words."""
    if engine.from_version is None and engine.before_version is None:
        return "every version"
    if engine.before_version is None:
        return f"{engine.from_version} and later"
    start = f"{engine.from_version} and later, " if engine.from_version else "versions "
    return f"{start}before {engine.before_version}"


def _family(name: str, families: dict[str, tuple[str, ...]]) -> str | None:
    """The engine that ``name`` or one of its aliases means."""
    wanted = canonical(name)
    for family, names in families.items():
        aliases = [alias for member in names for alias in ENGINES.load(member).aliases]
        if wanted in {canonical(alias) for alias in (family, *aliases)}:
            return family
    return None


def _chosen(family: str, names: tuple[str, ...], version: str | None) -> Engine:
    """The profile among ``names`` (oldest first) that covers ``version``."""
    profiles = [ENGINES.load(name) for name in names]
    if version is None or version.strip().lower() in _NEWEST or len(profiles) == 1:
        return profiles[-1]
    text = version.strip()
    month = _MONTH.fullmatch(text)
    if month is not None:
        current = [profile for profile in profiles if (profile.since or "") <= f"{month[1]}-{month[2] or 12}"]
        return current[-1] if current else profiles[0]
    match = _VERSION.fullmatch(text)
    if match is None:
        raise InputError(
            f"--engine-version {shortened(version)}: not a version of {family}; write for example '0.9.2' or '2025-08'"
        )
    number = _number(match[1])
    covering = [profile for profile in profiles if _number(profile.from_version or "0") <= number]
    return covering[-1] if covering else profiles[0]


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
