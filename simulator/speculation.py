"""Speculative decoding: a draft proposes tokens that one step verifies together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kvwall.hardware.errors import InputError, suggestion, unknown_name
from kvwall.hardware.validation import shortened
from kvwall.simulator.cache import Cache
from kvwall.simulator.deployment import Deployment
from kvwall.simulator.linears import head_linear
from kvwall.simulator.operators.linear import Arithmetic
from kvwall.simulator.traffic import Numeric, Operator, term
from kvwall.simulator.weights_memory import layer_linears
from kvwall.workloads.model_spec import HeadAttention, LinearState, ModelSpec

Drafter = Literal["mtp", "eagle", "ngram"]

_LEVIATHAN = "Leviathan et al. 2023, arXiv 2211.17192, equation 1"
_EXAMPLE = "mtp:tokens=3,acceptance=0.8"
_DEFAULTS = {"tokens": "1", "acceptance": "0.7", "nodes": ""}
_MOST_NODES = 4096


@dataclass(frozen=True)
class Speculation:
    """A draft of ``tokens`` tokens in a row a step, each accepted with probability ``acceptance``.

    ``mtp`` and ``eagle`` draft with one more layer that caches keys and values of its own; ``ngram`` looks tokens up.
    With ``nodes`` above ``tokens`` the draft is a tree of as many candidates, spread evenly over ``tokens`` levels, one
    of which may be accepted at each level; all of them are verified, and hold a slot of the cache meanwhile.
    """

    drafter: Drafter
    tokens: int
    acceptance: float
    nodes: int | None = None

    @property
    def emitted(self) -> float:
        """Expected tokens per step: ``(1 - a^(k + 1)) / (1 - a)``, Leviathan et al. 2023, equation 1.

        Of ``b`` candidates at a level one is accepted with ``a = 1 - (1 - acceptance)^b``, independent of each other.
        """
        a, k = 1.0 - (1.0 - self.acceptance) ** (self.verified / self.tokens), self.tokens
        return k + 1.0 if a == 1 else (1 - a ** (k + 1)) / (1 - a)

    @property
    def verified(self) -> int:
        """Drafted tokens that one step verifies."""
        return self.tokens if self.nodes is None else self.nodes

    def workspace_bytes(self, vocabulary: float) -> float:
        """Memory of one sequence's verification: fp32 logits of every candidate, and who of them sees whom.

        ``4 m V + m^2`` bytes (SpecMemo, arXiv 2506.01986, models these beside the slots of the cache).
        """
        return 4.0 * self.verified * vocabulary + float(self.verified**2)

    @property
    def layers(self) -> int:
        """Layers of the draft that hold weights and a cache."""
        return 0 if self.drafter == "ngram" else 1


def parse_speculation(text: str) -> Speculation:
    """``"mtp:tokens=3,acceptance=0.8"`` (or ``"mtp:3"``) as a :class:`Speculation`.

    ``nodes`` makes the draft a tree: ``"eagle:tokens=5,nodes=60"``.

    :raises InputError: an unknown drafter or option, or a value out of range
    """
    name, _, options = text.partition(":")
    drafters = {str(drafter): drafter for drafter in get_args(Drafter)}
    drafter = drafters.get(name.strip().lower())
    if drafter is None:
        raise unknown_name("drafter of --speculative", name, drafters)
    values = _DEFAULTS | _options(text, options)
    try:
        tokens, acceptance = int(values["tokens"]), float(values["acceptance"])
        nodes = int(values["nodes"]) if values["nodes"] else None
    except ValueError:
        raise InputError(f"--speculative {shortened(text)}: not a number (write {_EXAMPLE})") from None
    if not 1 <= tokens <= 64 or not 0 <= acceptance <= 1:
        raise InputError(
            f"--speculative {shortened(text)}: tokens must be 1 to 64 and acceptance 0 to 1 (write {_EXAMPLE})"
        )
    if nodes is not None and not tokens <= nodes <= _MOST_NODES:
        raise InputError(f"--speculative {shortened(text)}: nodes must be {tokens} (tokens) to {_MOST_NODES}")
    return Speculation(drafter, tokens, acceptance, nodes)


def _options(text: str, options: str) -> dict[str, str]:
    """The options of a draft by name; a first one without a name is the number of tokens."""
    given: dict[str, str] = {}
    for position, option in enumerate(filter(None, options.split(","))):
        key, separator, value = (part.strip() for part in option.partition("="))
        if not separator and position == 0:
            key, value = "tokens", key
        if key not in _DEFAULTS or not value:
            nearest = suggestion(key, _DEFAULTS) if separator else ""
            raise InputError(
                f"--speculative {shortened(text)}: {shortened(option)} is not an option{nearest} (write {_EXAMPLE})"
            )
        if key in given:
            raise InputError(f"--speculative {shortened(text)}: the option {key!r} stands twice")
        given[key] = value
    return given


def with_draft(model: ModelSpec, speculation: Speculation) -> ModelSpec:
    """``model`` with the draft's layer: one more of the layers that cache tokens, one more feed-forward network."""
    if not speculation.layers:
        return model
    attention = list(model.attention)
    for position, group in enumerate(attention):
        if not isinstance(group, LinearState):
            more = {"layers": group.layers + 1}
            if isinstance(group, HeadAttention) and group.kv_layers:
                more["kv_layers"] = group.kv_layers + 1
            attention[position] = group.model_copy(update=more)
            break
    else:
        raise InputError(f"--speculative {speculation.drafter}: {model.name} has no layer that caches tokens")
    forward = list(model.feed_forward)
    forward[-1] = forward[-1].model_copy(update={"layers": forward[-1].layers + 1})
    return model.model_copy(
        update={"attention": tuple(attention), "feed_forward": tuple(forward), "layers": model.layers + 1}
    )


def draft_cache_bytes(cache: Cache, deployment: Deployment) -> Numeric:
    """Bytes of its own layer's cache that one pass of a draft reads on one rank, over the batch.

    The draft's layer is one of the first group that keeps tokens, as :func:`with_draft` made it.
    """
    group = next(group for group in cache.groups if group.kind != "linear")
    read: Numeric = np.float64(0.0)
    for tensor in group.tensors:
        share = tensor.share(deployment.attention_tp) / deployment.dcp
        for segment in tensor.segments:
            if segment.place == "hbm":
                read = read + tensor.elements * share * segment.bits.effective / 8 * segment.read
    return read * cache.batch


def draft_operator(
    speculation: Speculation,
    model: ModelSpec,
    arithmetic: Arithmetic,
    deployment: Deployment,
    ranks: Numeric,
    cache_bytes: Numeric = 0.0,
) -> Operator:
    """The draft's passes beyond the one that the verifying step contains.

    Each reads the draft's layer and its cache again, and every pass reads the LM head.

    :param model: the model with the draft's layer
    :param cache_bytes: what one pass reads of the draft's cache on one rank (:func:`draft_cache_bytes`)
    """
    layer = sum(linear.bytes(arithmetic.weights) for linear in layer_linears(model, deployment)) / model.layers
    head = head_linear(model, deployment.tp).bytes(arithmetic.weights)
    passes = speculation.tokens if speculation.layers else 0
    reads = term(
        "read draft weights", "hbm", "max(0, k - 1) * w + k * h", _LEVIATHAN, tally="weights", k=passes, w=layer, h=head
    )
    again = term(
        "read draft cache", "hbm", "max(0, k - 1) * c", _LEVIATHAN, tally="kv read", k=passes, c=cache_bytes
    )  # fmt: skip
    return Operator("speculation", "draft", "gemm", (reads, again), 8.0 * passes, ranks=ranks)
