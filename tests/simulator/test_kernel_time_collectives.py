"""Collectives: published latencies, growth with message and ranks, which algorithm and which family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS, kernel_fits
from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError
from kvwall.simulator.kernel_time.collectives import COLLECTIVES, FAMILIES, collective_family
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.validate.fit import fit_family

H100 = machine_of(DEVICES.load("h100-sxm5-80gb"))
A100 = machine_of(DEVICES.load("a100-sxm4-80gb"))

_BYTES = 2.0 ** np.arange(9, 30)


def _defaults(family: Family) -> dict[str, float]:
    return {parameter.name: parameter.default for parameter in family.parameters}


@pytest.mark.parametrize(
    ("device", "framework", "kind", "ranks", "message_bytes", "measured_us"),
    [
        # ai-dynamo/aiconfigurator at 095f58a51; elements of two bytes.
        ("h100-sxm5-80gb", "nccl", "all_reduce", 8, 2048, 15.7),
        ("h100-sxm5-80gb", "nccl", "all_reduce", 8, 512 * 2**20, 2111.0),
        ("h100-sxm5-80gb", "nccl", "all_reduce", 2, 512 * 2**20, 1686.0),
        ("a100-sxm4-80gb", "nccl", "all_reduce", 8, 512 * 2**20, 4226.0),
        ("a100-sxm4-80gb", "nccl", "all_gather", 4, 512 * 2**20, 2102.0),
        ("h100-sxm5-80gb", "vllm", "all_reduce", 8, 8192, 5.0),
        ("h100-sxm5-80gb", "vllm", "all_reduce", 2, 4 * 2**20, 20.2),
        ("h100-sxm5-80gb", "trtllm", "all_reduce", 8, 512, 3.1),
        ("a100-sxm4-80gb", "vllm", "all_reduce", 8, 8 * 2**20, 129.0),
    ],
)
def test_calibrated_collectives_come_near_published_latencies(
    device: str, framework: str, kind: str, ranks: int, message_bytes: int, measured_us: float
) -> None:
    family = collective_family(kind, framework, switch_adds=device.startswith("h100"))
    fit = kernel_fits(device, framework)[family.name]
    points = Points(ranks=float(ranks), message_bytes=float(message_bytes))
    seconds = family.seconds(points, fit.parameters, machine_of(DEVICES.load(device)))
    assert float(seconds) * 1e6 == pytest.approx(measured_us, rel=0.12)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_more_bytes_never_take_less_nor_more_ranks_without_a_switch_that_adds(family: Family) -> None:
    points = Points(ranks=np.array([2.0, 4.0, 8.0])[:, None], message_bytes=_BYTES)
    seconds = family.seconds(points, {**_defaults(family), "pair_loss": 0.01}, H100)
    assert np.all(np.diff(seconds, axis=1) > 0)
    # In the switch the share of one rank, (n + 1) / n, falls with the ranks.
    assert "switch" in family.name or np.all(np.diff(seconds, axis=0) >= 0)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_collective_beats_its_link(family: Family) -> None:
    best = {p.name: p.high if "fraction" in p.name else p.low for p in family.parameters}
    points = Points(ranks=np.array([2.0, 3.0, 8.0])[:, None], message_bytes=_BYTES)
    assert np.all(family.seconds(points, best, H100) >= family.ideal_seconds(points, H100))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_an_array_holds_what_scalars_give(family: Family) -> None:
    points = Points(ranks=np.full(_BYTES.shape, 4.0), message_bytes=_BYTES)
    together = family.seconds(points, _defaults(family), A100)
    alone = [float(family.seconds(Points(ranks=4.0, message_bytes=b), _defaults(family), A100)) for b in _BYTES]
    assert together == pytest.approx(np.array(alone), rel=1e-12)


def test_one_rank_has_nobody_to_talk_to_but_a_send_always_has() -> None:
    alone = Points(ranks=1.0, message_bytes=1e6)
    for family in FAMILIES:
        seconds = float(family.seconds(alone, _defaults(family), H100))
        assert (seconds > 20e-6 / 8) if family.kernel == "send_recv" else seconds == 0.0, family.name


def test_small_messages_go_in_one_shot_and_large_ones_at_the_rate_of_the_ring() -> None:
    family = COLLECTIVES["all_reduce/custom"]
    parameters = _defaults(family)
    small = Points(ranks=8.0, message_bytes=np.array([1e3, 2e3]))
    step = np.diff(family.seconds(small, parameters, H100))
    assert step == pytest.approx(7 * 1e3 / H100.link_bytes_per_s / parameters["one_shot_fraction"])
    long = float(family.seconds(Points(ranks=8.0, message_bytes=64e9), parameters, H100))
    reached = parameters["link_fraction"] * (1 - parameters["pair_loss"] / 8) * H100.link_bytes_per_s
    assert long == pytest.approx(2 * 7 / 8 * 64e9 / reached, rel=0.02)


def test_vllm_hands_messages_of_8_mib_on_to_nccl() -> None:
    limited, free = COLLECTIVES["all_reduce/custom-short"], COLLECTIVES["all_reduce/custom"]
    below, at = (Points(ranks=8.0, message_bytes=float(b)) for b in (2**23 - 1, 2**23))
    parameters = {**_defaults(free), "ring_us": 50.0}
    assert limited.seconds(below, parameters, A100) == free.seconds(below, parameters, A100)
    assert limited.seconds(at, parameters, A100) > free.seconds(at, parameters, A100)


def test_a_switch_that_adds_helps_eight_ranks_and_not_two() -> None:
    switched, ring = COLLECTIVES["all_reduce/nccl-switch"], COLLECTIVES["all_reduce/nccl"]
    parameters = kernel_fits("h100-sxm5-80gb", "nccl")[switched.name].parameters
    points = Points(ranks=np.array([2.0, 8.0]), message_bytes=5e8)
    without = {name: value for name, value in parameters.items() if name != "switch_fraction"}
    gain = ring.seconds(points, without, H100) / switched.seconds(points, parameters, H100)
    assert gain[0] == pytest.approx(1.0)
    assert gain[1] > 1.05


def test_an_eager_call_waits_for_the_host_and_copies() -> None:
    eager, graph = COLLECTIVES["all_reduce/custom-eager"], COLLECTIVES["all_reduce/custom"]
    parameters = {**_defaults(graph), **_defaults(eager)}
    points = Points(ranks=8.0, message_bytes=np.array([1e3, 1e9]))
    replayed = graph.seconds(
        points, {k: v for k, v in parameters.items() if k not in ("host_us", "copy_fraction")}, H100
    )
    called = eager.seconds(points, _defaults(eager), H100)
    assert called[0] == pytest.approx(parameters["host_us"] * 1e-6, rel=0.01)
    copies = 2e9 / (parameters["copy_fraction"] * H100.bandwidth_bytes_per_s)
    assert called[1] - replayed[1] == pytest.approx(copies, rel=0.01)


def test_a_fit_finds_the_numbers_that_made_the_points() -> None:
    family = COLLECTIVES["all_gather/nccl"]
    points = Points(ranks=np.repeat([2.0, 4.0, 8.0], _BYTES.size), message_bytes=np.tile(_BYTES, 3))
    truth = {**_defaults(family), "launch_us": 6.3, "hop_us": 0.9, "link_fraction": 0.7, "pair_loss": 0.55}
    fit = fit_family(family, points, family.seconds(points, truth, H100), H100)
    for name in ("launch_us", "hop_us", "low_latency_fraction", "link_fraction", "pair_loss"):
        assert fit.parameters[name] == pytest.approx(truth[name], rel=0.05), name


def test_a_slower_link_takes_longer_by_its_rate() -> None:
    family, message = COLLECTIVES["send_recv/nccl"], Points(ranks=2.0, message_bytes=1e10)
    slow = replace(H100, link_bytes_per_s=H100.link_bytes_per_s / 10)
    ratio = float(family.seconds(message, _defaults(family), slow) / family.seconds(message, _defaults(family), H100))
    assert ratio == pytest.approx(10, rel=0.03)


@pytest.mark.parametrize(
    ("kind", "framework", "options", "family"),
    [
        ("all_reduce", "vllm", {}, "all_reduce/custom-short"),
        ("all_reduce", "vllm", {"switch_adds": True}, "all_reduce/custom-switch"),
        ("all_reduce", "SGLang", {"graph": False}, "all_reduce/custom-eager"),
        ("all_reduce", "vllm", {"graph": False}, "all_reduce/custom-eager-short"),
        ("all_reduce", "nccl", {"switch_adds": True}, "all_reduce/nccl-switch"),
        ("all_reduce", "vllm", {"over_host": True}, "all_reduce/nccl-host"),
        ("all_gather", "vllm", {"switch_adds": True}, "all_gather/nccl"),
        ("send_recv", "trtllm", {"over_host": True}, "send_recv/nccl-host"),
        ("alltoall", "sglang", {}, "alltoall/nccl"),
    ],
)
def test_kind_and_framework_name_a_family(kind: str, framework: str, options: dict[str, bool], family: str) -> None:
    assert collective_family(kind, framework, **options).name == family


def test_an_unknown_collective_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as error:
        collective_family("all_reduces", "nccl")
    assert str(error.value) == (
        "collective 'all_reduces' is unknown; did you mean 'all_reduce'? "
        "(allowed: all_gather, all_reduce, alltoall, reduce_scatter, send_recv)"
    )


def test_shipped_collective_fits_name_families_and_stay_within_their_bounds() -> None:
    names = [name for name in KERNEL_CALIBRATIONS.names if name.endswith(".collectives")]
    assert names
    for name in names:
        for fit in KERNEL_CALIBRATIONS.load(name).fits.values():
            family = COLLECTIVES[fit.family]
            assert len(family.parameters) <= 8
            assert [parameter.name for parameter in family.parameters] == list(fit.parameters), name
            for parameter in family.parameters:
                assert parameter.low * 0.99 <= fit.parameters[parameter.name] <= parameter.high * 1.01, (
                    name,
                    parameter,
                )
