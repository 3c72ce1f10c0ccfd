"""Laws that hold for every scheme on every kind of model, in decode and in prefill."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.dense import dense_cache
from kvwall.simulator.estimate import Axes, Estimate, estimate, estimate_grid
from kvwall.simulator.setup import Setup
from kvwall.simulator.stack import parse_stack, scheme_names
from kvwall.simulator.traffic import _FUNCTIONS, UNITS
from kvwall.workloads.model_lookup import find_model

STACKS = (
    *scheme_names(),
    "fp8:latent=plain",
    "kivi:bits=4,kernel=public",
    "quantize:bits=3,window=64,sinks=4,outliers=0.01,exempt_layers=2",
    "kivi:bits=2,append=concat",
    "kvquant:bits=2,outliers=0,sinks=1",
    "bfp:unit=software",
    "mikv:high=8,policy=snapkv",
    "zipcache:kernel=public,scales=head",
    "zipvl:version=2,important=0.3",
    "palu:keep=0.3,rebuild=query_head",
    "snapkv:layout=expanded",
    "quest:share=head,budget=512",
    "prefix:tokens=4096,cascade=true",
    "offload:attend=host,fraction=0.5",
    "offload:to=ssd,fraction=0.3",
    "recompute:source=tokens,fraction=0.5",
    "instinfer:sparf=true",
    "flexgen:wg=30,wc=50,cg=20,cc=40,hg=0,blocks=4,kv_bits=4",
    "tiered:to=ssd,hit=0.5,layerwise=true",
    "palu+kivi:bits=4+quest+offload:fraction=0.5",
    "snapkv+int4+prefix+offload:attend=host",
    "streaming_llm+fp8",
)
MODELS = (
    "llama-3.1-8b", "llama-2-7b", "gpt-oss-20b", "llama-4-scout", "deepseek-v3.2", "qwen3.5-27b", "gpt2-xl",
    "gemma-4-e2b", "infinity-2b",
)  # fmt: skip
BATCH = np.array([[1.0], [7.0], [200.0]])
CONTEXT = np.array([1.0, 100.0, 2048.0, 8191.0, 8192.0, 100_000.0])
FIELDS = (
    "ideal_s", "weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes", "host_link_bytes",
    "joules",
)  # fmt: skip


def allowed(scheme: str, model: str) -> bool:
    try:
        parse_stack(scheme).check(find_model(model)[1])
    except ForbiddenError:
        return False
    return True


PAIRS = [(scheme, model) for scheme in STACKS for model in MODELS if allowed(scheme, model)]
on_every_pair = pytest.mark.parametrize(("scheme", "model"), PAIRS)
in_both_phases = pytest.mark.parametrize("phase", ["decode", "prefill"])


def values(found: Estimate) -> dict[str, Any]:
    named = {name: getattr(found, name) for name in FIELDS}
    return named | {"low": found.step_s.low, "mid": found.step_s.mid, "high": found.step_s.high}


@in_both_phases
@on_every_pair
def test_no_time_is_below_the_bound_and_bands_are_ordered(setup_of: Any, scheme: str, model: str, phase: Any) -> None:
    found = estimate(setup_of(model, scheme), Axes(BATCH, CONTEXT, phase), keep_lines=False)
    band = found.step_s
    assert np.all(found.ideal_s > 0)
    assert np.all(band.low >= found.ideal_s)
    assert np.all(band.low <= band.mid)
    assert np.all(band.mid <= band.high)
    for name, value in values(found).items():
        assert np.all(np.isfinite(value)), name
        assert np.all(np.asarray(value) >= 0), name


@in_both_phases
@on_every_pair
def test_the_bill_adds_up_at_every_point(setup_of: Any, scheme: str, model: str, phase: Any) -> None:
    found = estimate(setup_of(model, scheme), Axes(BATCH, CONTEXT, phase))
    shape = np.broadcast_shapes(BATCH.shape, CONTEXT.shape)
    charged = sum(np.broadcast_to(line.charged_s, shape) for line in found.lines)
    np.testing.assert_allclose(charged, np.broadcast_to(found.step_s.mid, shape), rtol=1e-12)
    for line in found.lines:
        assert np.all(np.asarray(line.charged_s) >= 0), line.term.name
        assert np.all(np.asarray(line.alone_s) >= np.asarray(line.charged_s) * (1 - 1e-12)), line.term.name


@in_both_phases
@on_every_pair
def test_every_term_carries_its_equation_and_its_reference(setup_of: Any, scheme: str, model: str, phase: Any) -> None:
    found = estimate(setup_of(model, scheme), Axes(BATCH, CONTEXT, phase))
    priced = [line.term for line in found.lines]
    assert len([t for t in priced if t.symbols]) > 10
    for t in priced:
        assert t.equation, t.name
        assert t.reference, t.name
        assert t.resource in UNITS
        if t.symbols:
            again = eval(t.equation, _FUNCTIONS, t.symbols)
            np.testing.assert_allclose(*np.broadcast_arrays(t.amount, again), rtol=1e-12, err_msg=t.name)


@on_every_pair
def test_decode_reads_what_the_rewritten_cache_says(setup_of: Any, scheme: str, model: str) -> None:
    setup: Setup = setup_of(model, scheme)
    found = estimate(setup, Axes(BATCH, CONTEXT), keep_lines=False)
    cache = setup.stack.rewrite(dense_cache(setup.model, BATCH, CONTEXT))
    compulsory: Any = 0.0
    for group in cache.groups:
        for tensor in group.tensors:
            for segment in (s for s in tensor.segments if s.attend_on == "device"):
                run = cache.execution.attention_run(group.index).share
                one = group.layers * run * tensor.elements * segment.bits.effective / 8 * segment.read
                compulsory = compulsory + one * cache.batch
    np.testing.assert_allclose(*np.broadcast_arrays(found.kv_read_bytes, compulsory), rtol=1e-12)
    # What lies away is stored, too: the places add up.
    parts = sum(np.asarray(cache.stored_bytes(place)) for place in ("hbm", "host", "ssd"))
    np.testing.assert_allclose(*np.broadcast_arrays(parts, cache.stored_bytes()), rtol=1e-12)


@on_every_pair
def test_no_step_reads_more_than_is_stored(setup_of: Any, scheme: str, model: str) -> None:
    """But for a prefix or a tree that is stored once and read by everyone."""
    setup: Setup = setup_of(model, scheme)
    cache = setup.stack.rewrite(dense_cache(setup.model, BATCH, CONTEXT))
    for group in cache.groups:
        for tensor in group.tensors:
            for segment in tensor.segments:
                if not segment.label.startswith("shared"):
                    read = np.asarray(segment.read) * cache.execution.attention_run(group.index).share
                    assert np.all(read <= np.asarray(segment.stored) * (1 + 1e-12))
                assert np.all(np.asarray(segment.stored) >= 0)
                assert np.all(np.asarray(segment.read) >= 0)


@in_both_phases
@on_every_pair
def test_a_scalar_is_the_same_cell_of_an_array(setup_of: Any, scheme: str, model: str, phase: Any) -> None:
    setup = setup_of(model, scheme)
    array = values(estimate(setup, Axes(BATCH, CONTEXT, phase), keep_lines=False))
    grid = values(estimate_grid(setup, BATCH[:, 0], CONTEXT, phase))
    for i, j in ((0, 1), (1, 3), (2, 4)):
        cell = values(estimate(setup, Axes(float(BATCH[i, 0]), float(CONTEXT[j]), phase), keep_lines=False))
        for name, value in cell.items():
            whole = np.broadcast_to(array[name], (BATCH.size, CONTEXT.size))
            assert whole[i, j] == pytest.approx(float(value), rel=1e-13), name
            assert grid[name].shape == (BATCH.size, CONTEXT.size), name
            assert grid[name][i, j] == pytest.approx(float(value), rel=1e-13), name


@pytest.mark.parametrize(
    "text", ["palu+kivi:bits=4+offload:fraction=0.5", "snapkv+int8+quest+prefix", "streaming_llm+fp8+offload"]
)
def test_the_order_of_the_text_does_not_matter(setup_of: Any, text: str) -> None:
    axes = Axes(BATCH, CONTEXT)
    first = values(estimate(setup_of(scheme=text), axes, keep_lines=False))
    for order in permutations(text.split("+")):
        again = values(estimate(setup_of(scheme="+".join(order)), axes, keep_lines=False))
        for name, value in first.items():
            assert np.array_equal(value, again[name]), (order, name)


#: A prefix is shared by more and hit by less as batch and context grow; and the part of a choice of a constant size
#: that lies away falls with the context where the newest tokens never leave the device.
FALLING = ("prefix", "quest+offload")


@in_both_phases
@pytest.mark.parametrize("scheme", [stack for stack in STACKS if not any(falls in stack for falls in FALLING)])
def test_more_sequences_or_tokens_never_take_less(setup_of: Any, scheme: str, phase: Any) -> None:
    """Contexts are multiples of every residual window, whose flush makes a saw-tooth."""
    batch, context = np.arange(1.0, 65.0)[:, None], np.arange(1.0, 40.0) * 512
    model = next(name for name in MODELS if allowed(scheme, name))
    found = estimate(setup_of(model, scheme), Axes(batch, context, phase), keep_lines=False)
    shape = np.broadcast_shapes(batch.shape, context.shape)
    for name, value in values(found).items():
        full = np.broadcast_to(value, shape)
        assert np.all(np.diff(full, axis=0) >= -1e-12 * full[1:]), f"{name} falls with the batch"
        assert np.all(np.diff(full, axis=1) >= -1e-12 * full[:, 1:]), f"{name} falls with the context"


@settings(max_examples=25)
@given(data=st.data())
@pytest.mark.parametrize("model", ["llama-3.1-8b", "gpt-oss-20b", "qwen3.5-27b"])
def test_what_is_smaller_fits_where_more_does(setup_of: Any, data: st.DataObject, model: str) -> None:
    scheme = data.draw(st.sampled_from([s for s in STACKS if allowed(s, model)]))
    capacity = Capacity(setup_of(model, scheme), 8192)
    batch = np.sort(data.draw(st.lists(st.integers(1, 3000), min_size=8, max_size=8)))[:, None]
    blocks = np.sort(data.draw(st.lists(st.integers(1, 1000), min_size=8, max_size=8)))
    fits = np.asarray(capacity.fits(batch, blocks * 128.0))
    assert np.all(fits[:-1] >= fits[1:])
    assert np.all(fits[:, :-1] >= fits[:, 1:])


@pytest.mark.parametrize(
    ("model", "split"),
    [
        ("deepseek-v3", {"tp": 8, "ep": 8, "attn_dp": 8}),
        ("deepseek-v3", {"tp": 4, "pp": 2, "dcp": 2}),
        ("qwen3-30b-a3b", {"tp": 4, "dp": 2}),
        ("llama-3.1-8b", {"tp": 2, "pp": 4}),
    ],
)
@in_both_phases
def test_laws_hold_on_any_split(setup_of: Any, model: str, split: dict[str, int], phase: Any) -> None:
    for scheme in ("none", "fp8", "prefix", "offload:fraction=0.5", "offload:attend=host"):
        setup = setup_of(model, scheme, "h200:8", split=split, eager=True)
        found = estimate(setup, Axes(BATCH, CONTEXT, phase))
        assert np.all(found.step_s.low >= found.ideal_s)
        shape = np.broadcast_shapes(BATCH.shape, CONTEXT.shape)
        charged = sum(np.broadcast_to(line.charged_s, shape) for line in found.lines)
        np.testing.assert_allclose(charged, np.broadcast_to(found.step_s.mid, shape), rtol=1e-12)
