"""The service model: from one decode step and one prefill to TPOT, TTFT and tokens per second in a closed loop.

Every user has one request in flight or thinks. While a request decodes, the others of its replica prefill once per
answer, and their chunks ride in its steps. Reference of all equations: closed-loop steady state held against 415
public H100 rows of vLLM, SGLang and TensorRT-LLM (ai-dynamo/aiconfigurator, its serving tables): TPOT within 4 %
(median) where an engine's two constants are fitted and 10 % where not; TTFT within a factor of 2 to 4 unless the
benchmark's arrival pattern is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.planning.load import Load
from kvwall.simulator.traffic import Array, Numeric

#: TTFT depends on how requests arrive as much as on the engine: an 80 % band of x/÷ 3.
TTFT_SPREAD = 3.0
#: One front-end process was seen to level off at about 9,000 tokens per second.
FRONT_END_TOKENS_PER_S = 8000.0
#: Relative difference of two counts of users that rounding explains.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Protocol:
    """How prefills of other requests fall on a request.

    :ivar own: prefills in the TTFT: one's own and those of requests that started together
    :ivar others: part of the replica's other prefills that come before one's own first token
    :ivar steps: steps spent in scheduling and in finishing the current one
    :ivar after: part of the others' prefills that come after one's first token and stretch the TPOT
    """

    own: float
    others: float
    steps: float
    after: float


#: Any engine that mixes chunks of prefills into decode steps: rounded over all public series.
DENSE = Protocol(2.0, 0.07, 3.0, 1.0)
EXPERTS = Protocol(2.0, 0.12, 5.0, 1.0)

#: Robust fits to closed-loop H100 series of the engine that no lack of cache holds up, by engine and whether the model
#: is a mixture of experts: vLLM 73 and 41 rows, TensorRT-LLM 174 and 74. SGLang gives prefills priority, so that half
#: of the others' come before the first token (41 rows of version 0.5.1).
FITTED = {
    ("vllm", False): Protocol(2.2, 0.083, 2.7, 1.0),
    ("vllm", True): Protocol(1.8, 0.11, 3.8, 1.0),
    ("trtllm", False): Protocol(2.45, 0.053, 17.0, 1.0),
    ("trtllm", True): Protocol(2.2, 0.05, 9.0, 1.0),
    ("sglang", False): Protocol(0.35, 0.483, 30.0, 0.5),
    ("sglang", True): Protocol(0.35, 0.483, 30.0, 0.5),
}


def protocol_of(engine: str, experts: bool) -> Protocol:
    """The constants of an engine family."""
    return FITTED.get((engine, experts), EXPERTS if experts else DENSE)


@dataclass(frozen=True)
class Kernels:
    """Times of one replica at one end of the band, in seconds.

    :ivar step_s: decode step at each batch, shape (n,)
    :ivar prefill_s: prefill of one mean request from start to end, alone
    :ivar added_s: what that prefill adds to the steps it rides in, since these read the weights already
    :ivar occupied_s: its part of the replica: ``added / (pp * attn_dp)``, since stages and groups prefill side by side
    """

    step_s: Array
    prefill_s: float
    added_s: float
    occupied_s: float


@dataclass(frozen=True)
class Service:
    """What users see at each batch, in seconds and tokens per second of the whole deployment.

    :ivar response_s: first token and answer of a request that found a place in the batch
    """

    tpot_s: Array
    ttft_s: Array
    response_s: Array
    wait_s: Array
    tokens_per_s: Array
    users: Array


def serve(
    kernels: Kernels,
    in_flight: Array,
    batch: Array,
    load: Load,
    protocol: Protocol,
    tokens_per_step: float = 1.0,
) -> Service:
    """The closed loop at each batch.

    ``TPOT = t / e + after N D / O``; ``TTFT_0 = max(P, own D' + others N D + steps t)``; ``R = TTFT_0 + O TPOT``;
    users U with think time Z beyond those the batch B serves wait ``U R / B - Z - R``; tokens per second
    ``O min(B / R, U / (R + Z))`` (Little 1961 for a closed system).

    :param in_flight: requests in flight in one replica (N), shape (n,)
    :param batch: places in the whole deployment (B), shape (n,)
    :param load: mean answer length (O), users (U; ``None`` for exactly as many as the batch serves), think time (Z)
    :param tokens_per_step: tokens that a step yields per sequence (e), more than 1 with a draft
    """
    output_tokens, think_s = load.output_tokens, load.think_s
    tpot = kernels.step_s / tokens_per_step + protocol.after * in_flight * kernels.occupied_s / output_tokens
    queue = protocol.own * kernels.added_s + protocol.others * in_flight * kernels.occupied_s
    first = np.maximum(kernels.prefill_s, queue + protocol.steps * kernels.step_s)
    response = first + output_tokens * tpot
    served = batch * (response + think_s) / response
    crowd: Numeric = served if load.users is None else np.float64(load.users)
    # The two sides of an exact fit differ by rounding: nobody waits for that.
    wait = np.where(crowd <= served * (1 + _ROUNDING), 0.0, crowd * response / batch - think_s - response)
    rate = output_tokens * np.minimum(batch / response, crowd / (response + think_s))
    return Service(tpot, first + wait, response, wait, rate, np.asarray(served))
