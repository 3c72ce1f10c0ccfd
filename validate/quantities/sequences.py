"""Memory and rates of schemes that share sequences or run layers in a part of the steps."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.estimate import Axes, estimate, rank_step
from kvwall.validate.quantities.bytes import kv_device_bytes
from kvwall.validate.quantities.time import decode_s, offline_tokens_per_s
from kvwall.validate.reproducing.point import Point, quantity


@quantity
def eager_sample_bytes(point: Point) -> float:
    """Most allocated memory of one sample in GPT-NeoX of transformers 4.36, whose rotary embedding widens keys to fp32.

    * A decode step holds the cache of before and after at once, as appending copies it: ``2 (4 + 2)`` bytes a pair of
      elements of key and value.
    * A prompt's values are a view of the fused projection, which stays whole: ``4 + 3 * 2`` bytes a pair. Beside it
      lie the scores of one layer: masked and softmaxed in fp32 and rounded, ``(4 + 4 + 2) H q n`` bytes.
    """
    whole = kv_device_bytes(point) / point.batch
    asked = float(point.words["input"])
    cache, _ = rank_step(point.setup, Axes(1.0, asked, "prefill"))
    scores = 0.0
    for group in cache.groups:
        run = cache.execution.attention_run(group.index)
        queries = asked * float(run.tokens)
        keys = asked if run.context is None else float(run.context)
        scores = max(scores, 10.0 * group.q_heads * queries * min(keys, group.window or keys))
    appended = float(point.capacity.sequence_bytes(asked))
    prompt = appended * (4 + 3 * 2) / (4 + 2)
    return max(2.0 * whole, prompt + scores, prompt + appended)


@quantity
def eager_offline_tokens_per_s(point: Point) -> float:
    """Generated tokens over prefill and decode, at the largest batch whose prompts an eager softmax has room for."""
    one = point.at(batch=1)
    batch = max(1.0, float(np.floor(one.capacity.kv.mid / eager_sample_bytes(one))))
    return offline_tokens_per_s(point.at(batch=batch))


@quantity
def document_request_s(point: Point) -> float:
    """A batch of prompts about documents of ``input`` tokens: encoding, prompts of ``query_tokens``, all answers.

    Under a scheme that shares a document it is encoded once per group of prompts; else with every prompt.
    """
    shared = next((s for s in point.setup.stack.schemes if s.name == "pid"), None)
    document, asked = float(point.words["input"]), float(point.words["query_tokens"])
    whole = Axes(point.batch, document + asked, "prefill")
    prefill = float(estimate(point.setup, whole, keep_lines=False).step_s.mid)
    if shared is not None:
        groups = point.batch / float(shared.model_dump()["prompts"])
        plain = point.at(scheme="none").setup
        prefill += float(estimate(plain, Axes(groups, document, "prefill"), keep_lines=False).step_s.mid)
    return prefill + decode_s(point.at(input=document + asked, query_tokens=None))
