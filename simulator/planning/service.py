"""The service model: from one decode step and one prefill to TPOT, TTFT and tokens per second in a closed loop.

Every user has one request in flight or thinks. While a request decodes, the others of its replica prefill once per
answer, and their chunks ride in its steps. Reference of all equations: closed-loop steady state held against 415
public H100 rows of vLLM, SGLang and TensorRT-LLM (ai-dynamo/aiconfigurator, its serving tables). The constants stand
in the engine profiles and in calibrations of an engine; docs/accuracy.md tells the errors with and without a fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.hardware.serving_constants import Queue
from kvwall.simulator.planning.load import Load
from kvwall.simulator.traffic import Array, Numeric

#: One front-end process was seen to level off at about 9,000 tokens per second.
FRONT_END_TOKENS_PER_S = 8000.0
#: Relative difference of two counts of users that rounding explains.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Kernels:
    """Times of one replica at one end of the band, in seconds.

    :ivar step_s: decode step at each batch, shape (n,)
    :ivar prefill_s: prefill of one mean request from start to end, alone
    :ivar added_s: what that prefill adds to the steps it rides in, since these read the weights already, shape (n,)
    :ivar occupied_s: its part of the replica: ``added / (pp * attn_dp)``, since stages and groups prefill side by side
    """

    step_s: Array
    prefill_s: float
    added_s: Array
    occupied_s: Array


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
    queue: Queue,
    tokens_per_step: float = 1.0,
) -> Service:
    """The closed loop at each batch.

    ``TTFT_0 = max(P, own D + others N D' + steps t + slot O TPOT / N)``; ``R = TTFT_0 + O TPOT``; users U with think
    time Z beyond those the batch B serves wait ``U R / B - Z - R``; tokens per second ``O min(B / R, U / (R + Z))``
    (Little 1961 for a closed system). The TPOT is that of :func:`time_per_token`.

    :param in_flight: requests in flight in one replica (N), shape (n,)
    :param batch: places in the whole deployment (B), shape (n,)
    :param load: mean answer length (O), users (U; ``None`` for exactly as many as the batch serves), think time (Z)
    :param queue: how prefills of other requests fall on a request
    :param tokens_per_step: tokens that a step yields per sequence (e), more than 1 with a draft
    """
    output_tokens, think_s = load.output_tokens, load.think_s
    tpot = time_per_token(kernels, in_flight, output_tokens, queue.after, tokens_per_step)
    wait_for_others = queue.own * kernels.added_s + queue.others * in_flight * kernels.occupied_s
    place = queue.slot * output_tokens * tpot / in_flight
    first = np.maximum(kernels.prefill_s, wait_for_others + queue.steps * kernels.step_s + place)
    response = first + output_tokens * tpot
    served = batch * (response + think_s) / response
    crowd: Numeric = served if load.users is None else np.float64(load.users)
    # The two sides of an exact fit differ by rounding: nobody waits for that.
    wait = np.where(crowd <= served * (1 + _ROUNDING), 0.0, crowd * response / batch - think_s - response)
    rate = output_tokens * np.minimum(batch / response, crowd / (response + think_s))
    return Service(tpot, first + wait, response, wait, rate, np.asarray(served))


def time_per_token(
    kernels: Kernels, in_flight: Array, output_tokens: float, after: float, tokens_per_step: float = 1.0
) -> Array:
    """TPOT (x) of a loop whose requests decode for ``O x`` and prefill for ``w = D + t`` in turn.

    ``x = t / e + after N D' / O  O x / (O x + w)``: only what decodes has others prefill beside it. That is
    ``O x^2 - (O t / e + after N D' - w) x - w t / e = 0``, whose positive root it returns.
    """
    alone, wait = kernels.step_s / tokens_per_step, kernels.added_s + kernels.step_s
    middle = output_tokens * alone + after * in_flight * kernels.occupied_s - wait
    return np.asarray((middle + np.sqrt(middle**2 + 4 * output_tokens * wait * alone)) / (2 * output_tokens))
