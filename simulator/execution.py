"""How a step is run, where a scheme changes that: where weights lie, what hides, what part of a device it has.

A scheme that moves weights, hides collectives or shares the device with another phase rewrites this description as
it rewrites the cache; nothing here knows a machine or a second.
"""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.simulator.traffic import Array, Numeric


@dataclass(frozen=True, slots=True)
class Run:
    """How the layers of one group run, where not all of them run for every token.

    :ivar share: part of the group's layers that a decode step runs, as a mean over steps
    :ivar tokens: rows that visit them in such a step, or in a prefill, per new token of a sequence
    :ivar context: positions that a prefill attends over; ``None`` for all tokens
    """

    share: Numeric = 1.0
    tokens: Numeric = 1.0
    context: Array | None = None


EVERY_TOKEN = Run()


@dataclass(frozen=True, slots=True)
class Execution:
    """What a step does otherwise than a plain engine.

    :ivar weights_on_host: part of the layers' weights that lies in host memory and crosses the host link in a step
    :ivar weights_on_ssd: part of them that lies on drives, and crosses the host link after them
    :ivar blocks: parts that a decode batch is cut into on the device; each reads the weights there again, while one
        load from elsewhere serves all (zig-zag schedule)
    :ivar buffered_layers: layers whose weights the device holds at once where weights lie elsewhere
    :ivar hidden_all_reduce: the all-reduce of a block runs beside the next block instead of before it
    :ivar split_vocabulary: the embedding and the LM head are cut over the pipeline's stages instead of the ends
    :ivar compute_share: part of the device's multiprocessors that the step may use
    :ivar memory_share: part of the memory bandwidth that is left to it by what runs beside it
    :ivar own_appends: the scheme's own code appends to the cache, whatever the engine does; it charges what that moves
    :ivar repeated_tokens: earlier tokens of each sequence that a decode step takes through the layers once more,
        because nothing of them is kept
    :ivar computed_share: part of a prefill's tokens that go through the layers, scattered over the prompt; the keys
        and values of the others are loaded
    :ivar swapped_experts: part of the resident routed experts that a step loads from host memory
    :ivar star_all_reduce: one rank collects all rows of a sum and sends it back to each
    :ivar attention_runs: how each attention group of the model runs, or one for all of them; empty where all layers
        run for every token
    :ivar feed_forward_runs: how each feed-forward group runs, likewise
    """

    weights_on_host: float = 0.0
    weights_on_ssd: float = 0.0
    blocks: float = 1.0
    buffered_layers: float = 2.0
    hidden_all_reduce: bool = False
    split_vocabulary: bool = False
    compute_share: float = 1.0
    memory_share: float = 1.0
    own_appends: bool = False
    repeated_tokens: Numeric = 0.0
    computed_share: Numeric = 1.0
    swapped_experts: float = 0.0
    star_all_reduce: bool = False
    attention_runs: tuple[Run, ...] = ()
    feed_forward_runs: tuple[Run, ...] = ()

    def attention_run(self, index: int) -> Run:
        """How attention group ``index`` of the model runs."""
        return _chosen(self.attention_runs, index)

    def feed_forward_run(self, index: int) -> Run:
        """How feed-forward group ``index`` of the model runs."""
        return _chosen(self.feed_forward_runs, index)

    @property
    def weights_away(self) -> float:
        """Part of the layers' weights that does not stay on the device."""
        return self.weights_on_host + self.weights_on_ssd


def _chosen(runs: tuple[Run, ...], index: int) -> Run:
    """The run of group ``index``."""
    return runs[index if len(runs) > 1 else 0] if runs else EVERY_TOKEN


PLAIN = Execution()
