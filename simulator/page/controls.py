"""What a person sets on the page: the words of a question, as a link and as a command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from urllib.parse import parse_qs, urlencode

from kvwall.hardware.errors import InputError
from kvwall.simulator.inquiry import Inquiry
from kvwall.workloads.numbers import parse_tokens

#: Schemes that a page starts with: one of each kind.
USUAL = ("none", "fp8", "kivi:bits=2", "snapkv:budget=1024", "quest")
#: Longest text of a field; more is not a name.
_LONGEST = 400


@dataclass(frozen=True)
class Controls:
    """Everything that the page's views depend on, as it was typed.

    :ivar schemes: stacks with ``;`` between them
    :ivar bandwidth: device bandwidth as a quantity, e.g. ``4 TB/s``; empty for the data sheet's
    :ivar price: USD per GPU-hour; empty for the device's usual
    """

    model: str = "llama-3.1-8b"
    on: str = "h100:1"
    engine: str = "vllm"
    weights: str = ""
    schemes: str = ";".join(USUAL)
    batch: str = "32"
    context: str = "8k"
    users: str = "32"
    input: str = "4k"
    output: str = "500"
    ttft_ms: str = ""
    tpot_ms: str = ""
    bandwidth: str = ""
    price: str = ""

    @property
    def stacks(self) -> tuple[str, ...]:
        """The schemes, each by itself."""
        return tuple(text.strip() for text in self.schemes.split(";") if text.strip()) or ("none",)

    @property
    def query(self) -> str:
        """The state as the query of a link, only what differs from the start."""
        return urlencode({f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default})

    def tokens(self, name: str) -> int:
        """A field that counts, e.g. ``8k`` as 8192."""
        return parse_tokens(getattr(self, name), f"--{name}")

    def inquiry(self, scheme: str) -> Inquiry:
        """The question about one stack."""
        return Inquiry(
            model=self.model,
            on=self.on,
            engine=self.engine,
            weights=self.weights or None,
            scheme=scheme,
            set=(f"device.hbm.bandwidth={self.bandwidth}",) if self.bandwidth else (),
            price_usd_per_gpu_hour=self.dollars,
        )

    @property
    def dollars(self) -> float | None:
        """The price, if one was given."""
        if not self.price.strip():
            return None
        try:
            return float(self.price)
        except ValueError:
            raise InputError(f"--price-usd-per-gpu-hour {self.price[:40]!r}: is not a number") from None

    def command(self, name: str) -> str:
        """The ``kvwall`` line that gives the same numbers as the view called ``name``."""
        words = ["kvwall", name, self.model, "--on", self.on, "--engine", self.engine]
        words += ["--weights", self.weights] if self.weights else []
        words += ["--set", f"device.hbm.bandwidth={self.bandwidth}"] if self.bandwidth else []
        words += ["--price-usd-per-gpu-hour", self.price] if self.price else []
        words += _OWN[name](self)
        return shlex.join(words)


_OWN = {
    "compare": lambda c: ["--schemes", c.schemes, "--batch", c.batch, "--context", c.context],
    "explain": lambda c: ["--scheme", c.stacks[0], "--batch", c.batch, "--context", c.context],
    "fit": lambda c: ["--scheme", c.stacks[0], "--users", c.users, "--context", c.context],
    "plan": lambda c: [
        "--schemes", c.schemes, "--input", c.input, "--output", c.output, "--users", c.users,
        *(["--ttft-ms", c.ttft_ms] if c.ttft_ms else []), *(["--tpot-ms", c.tpot_ms] if c.tpot_ms else []),
    ],
}  # fmt: skip


def controls_from(values: Mapping[str, str]) -> Controls:
    """Controls from named texts; unknown names are left out, and none may be longer than a name is.

    :raises InputError: a text that is too long
    """
    known = {field.name for field in fields(Controls)}
    given = {name: str(value).strip() for name, value in values.items() if name in known and value is not None}
    for name, text in given.items():
        if len(text) > _LONGEST:
            raise InputError(f"{name}: {len(text)} characters are too many (at most {_LONGEST})")
    return Controls(**given)


def controls_of_link(query: str) -> Controls:
    """The controls that a link's query holds."""
    parsed = parse_qs(query.lstrip("?"), max_num_fields=50)
    return controls_from({name: texts[-1] for name, texts in parsed.items()})
