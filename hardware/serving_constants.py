"""What an engine adds to the kernels of a serving loop: time on the host, and how requests queue for a prefill."""

from __future__ import annotations

from pydantic import Field

from kvwall.hardware.band import FactorBand, SecondsBand
from kvwall.hardware.document import Sourced
from kvwall.hardware.quantity import Seconds

#: A bare kernel launch on a current server's processor (EPYC 7313 2.26 us, Xeon 8468V 2.37 us: SKIP, arXiv 2504.11750).
CLASS_LAUNCH_S = 2.3e-6


class HostTime(Sourced):
    """Time of one step in which the device waits for the host."""

    per_step_s: SecondsBand = Field(alias="per_step")
    per_sequence_s: SecondsBand = Field(alias="per_sequence")
    per_moe_layer_s: SecondsBand = Field(alias="per_moe_layer")
    eager_per_layer_s: SecondsBand = Field(alias="eager_per_layer", description="added where no graph is replayed")
    prefill_per_layer_s: SecondsBand = Field(
        alias="prefill_per_layer",
        description="least time of a dense layer in a pass that holds a prompt: the host launches kernel by kernel",
    )
    reference_launch_s: Seconds = Field(
        CLASS_LAUNCH_S, alias="reference_launch", description="a bare launch on the processors that these times are of"
    )


class Queue(Sourced):
    """How the prefills of other requests fall on a request in a closed loop, and how well that predicts.

    :ivar own: prefills in the TTFT: one's own and those of requests that started together
    :ivar others: part of the replica's other prefills that come before one's own first token
    :ivar steps: steps spent in scheduling and in finishing the current one
    :ivar slot: part of the time between two answers of the replica that a request waits for its place
    :ivar after: part of the others' prefills that come after one's first token and stretch the TPOT
    :ivar tpot_spread: factor each way that holds 80 % of measured TPOT
    :ivar ttft_spread: likewise of the TTFT
    """

    own: float = Field(ge=0, le=1000)
    others: float = Field(ge=0, le=1)
    steps: float = Field(ge=0, le=10_000)
    slot: float = Field(ge=0, le=100)
    after: float = Field(ge=0, le=1)
    tpot_spread: float = Field(ge=1, le=100)
    ttft_spread: float = Field(ge=1, le=100)


class ServingConstants(Sourced):
    """The closed loop of an engine.

    :ivar dense: of models whose layers are all dense
    :ivar experts: of mixtures of experts
    :ivar routing_breadth: experts that a batch touches beyond those of one token, over those of independent routing
    """

    dense: Queue
    experts: Queue
    routing_breadth: FactorBand

    def queue(self, experts: bool) -> Queue:
        """The queue of dense models or of mixtures of experts."""
        return self.experts if experts else self.dense
