"""Stacks of schemes: ``"palu:keep=0.5+kivi:bits=4+offload:to=host"`` as a tuple of schemes in the order they act."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, replace
from functools import cache as remember
from importlib.metadata import entry_points
from itertools import combinations
from typing import Any, get_args

from pydantic import ValidationError

import kvwall.simulator.schemes as schemes_folder
from kvwall.hardware.errors import ForbiddenError, InputError, canonical, unknown_name
from kvwall.hardware.quantity import UnitError
from kvwall.hardware.validation import explain_validation, shortened
from kvwall.simulator.cache import Axis, Cache
from kvwall.simulator.scheme import Scheme
from kvwall.workloads.model_spec import ModelSpec
from kvwall.workloads.numbers import count_from


@remember
def scheme_modules() -> dict[str, str]:
    """Name of each scheme and the module that defines it: the files of the folder, then installed plug-ins."""
    own = {m.name.replace("_", "-"): m.name for m in pkgutil.iter_modules(schemes_folder.__path__)}
    return {name: f"kvwall.simulator.schemes.{module}" for name, module in own.items()}


@remember
def scheme_names() -> tuple[str, ...]:
    """All scheme names, as written in a stack."""
    plugged = [entry.name for entry in entry_points(group="kvwall.schemes")]
    return tuple(sorted([*(name.replace("-", "_") for name in scheme_modules()), *plugged]))


@remember
def scheme_class(name: str) -> type[Scheme]:
    """The class of the scheme called ``name``, whatever its case and punctuation.

    :raises UnknownNameError: no such scheme, with the nearest name
    """
    for known, module in scheme_modules().items():
        if canonical(known) == canonical(name):
            found = importlib.import_module(module)
            own: type[Scheme] = next(c for c in vars(found).values() if _is_scheme_of(c, found.__name__))
            return own
    for entry in entry_points(group="kvwall.schemes"):
        if canonical(entry.name) == canonical(name):
            plugged: type[Scheme] = entry.load()
            return plugged
    raise unknown_name("scheme", name, scheme_names(), "kvwall list schemes")


def _is_scheme_of(candidate: Any, module: str) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Scheme) and candidate.__module__ == module


@dataclass(frozen=True)
class Stack:
    """Schemes in the order in which they act.

    :ivar schemes: at most one on each axis
    """

    schemes: tuple[Scheme, ...] = ()

    @property
    def text(self) -> str:
        """The stack as it is written, in the order in which it acts; ``none`` when empty."""
        return "+".join(scheme.text for scheme in self.schemes) or "none"

    @property
    def during_prefill(self) -> Stack:
        """The stack as it acts while a prompt is prefilled: without what drops tokens only afterwards."""
        acting = (scheme.while_prefilling for scheme in self.schemes)
        return Stack(tuple(scheme for scheme in acting if scheme is not None))

    @property
    def unmeasured(self) -> str | None:
        """What no publication has measured together, of a stack of several schemes."""
        apart = [
            f"{a.name} with {b.name}"
            for a, b in combinations(self.schemes, 2)
            if b.name not in a.measured_with and a.name not in b.measured_with
        ]
        return f"nobody published {', '.join(apart)}: the stack is computed, not measured" if apart else None

    def reshape(self, model: ModelSpec) -> ModelSpec:
        """``model`` as the schemes of the stack change it."""
        for scheme in self.schemes:
            model = scheme.reshape(model)
        return model

    def check(self, model: ModelSpec) -> None:
        """Refuse a scheme that the architecture forbids.

        :raises ForbiddenError: with the reason
        """
        for scheme in self.schemes:
            scheme.check(model)
            model = scheme.reshape(model)

    def rewrite(self, cache: Cache) -> Cache:
        """``cache`` after all rewrites."""
        for scheme in self.schemes:
            claims = tuple((axis, scheme.name) for axis in sorted(scheme.shrinks))
            cache = replace(scheme.rewrite(cache), claims=(*cache.claims, *claims))
        return cache.noting(self.unmeasured) if self.unmeasured else cache


def parse_stack(text: str, kv_dtype: str | None = None) -> Stack:
    """The stack that ``text`` describes; ``kv_dtype`` is sugar for one more scheme.

    :raises InputError: an option that the scheme does not have, or a value that it does not allow
    :raises UnknownNameError: no such scheme
    :raises ForbiddenError: two schemes on one axis, or two that exclude each other
    """
    schemes = [_parse_scheme(part.strip(), text) for part in text.split("+") if canonical(part) != "none"]
    where = f"scheme {shortened(text)}"
    if kv_dtype is not None and canonical(kv_dtype) not in {"auto", "bf16", "fp16", "none"}:
        where += f" with --kv-dtype {shortened(kv_dtype)}"
        try:
            schemes.append(_parse_scheme(kv_dtype, kv_dtype))
        except InputError as error:
            raise type(error)(f"--kv-dtype: {error}") from None
    taken: dict[Axis, str] = {}
    for scheme in schemes:
        for axis in sorted(scheme.shrinks):
            if axis in taken:
                raise ForbiddenError(f"{where}: both {taken[axis]!r} and {scheme.name!r} shrink the {axis}")
            taken[axis] = scheme.name
    _refuse_excluded(schemes, where)
    return Stack(tuple(sorted(schemes, key=lambda scheme: (scheme.stage, scheme.name))))


def _refuse_excluded(schemes: list[Scheme], where: str) -> None:
    """Refuse two schemes that cannot be had together although they shrink different axes."""
    for scheme in schemes:
        for other in schemes:
            if other.name in scheme.excludes:
                reason = scheme.excludes[other.name]
                raise ForbiddenError(f"{where}: {scheme.name!r} cannot be stacked with {other.name!r}: {reason}")
            for axis in sorted(other.shrinks & set(scheme.excludes_axes)) if other is not scheme else ():
                reason = f"{other.name!r} shrinks the {axis}, and {scheme.excludes_axes[axis]}"
                raise ForbiddenError(f"{where}: {scheme.name!r} cannot be stacked with {other.name!r}: {reason}")


def _parse_scheme(text: str, stack: str) -> Scheme:
    """The scheme that ``text`` describes; ``stack`` is all that was written."""
    name, _, options = text.partition(":")
    if not name.strip():
        raise InputError(f"scheme {shortened(stack)}: a name is missing (as in 'kivi:bits=2+offload:to=host')")
    found = scheme_class(name)
    values: dict[str, Any] = {}
    for option in filter(None, (part.strip() for part in options.split(","))):
        key, separator, value = option.partition("=")
        if not separator:
            raise InputError(f"scheme {shortened(text)}: {shortened(option)} is not an option (write key=value)")
        if key.strip() in values:
            raise InputError(f"scheme {shortened(text)}: the option {shortened(key.strip())} stands twice")
        values[key.strip()] = _whole(found, key.strip(), value.strip())
    try:
        return found.model_validate(values)
    except ValidationError as error:
        raise InputError(f"scheme {shortened(text)}: {explain_validation(error, found)}") from None


def _whole(scheme: type[Scheme], key: str, value: str) -> str:
    """``value`` with ``16k`` written out where the option is a whole number; anything else is left to the scheme."""
    field = scheme.model_fields.get(key)
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    if int not in kinds or not value.lower().endswith(("k", "m")):
        return value
    try:
        return str(count_from(value, lowest=0))
    except UnitError:
        return value
