"""``--set``: paths that lead nowhere and values that a field does not take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_SHAPE = 'write PATH=VALUE, as in device.hbm.bandwidth="4 TB/s"'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("=3", f"--set '=3': {_SHAPE}"),
        ("device=3 TB/s", f"--set 'device=3 TB/s': {_SHAPE}"),
        ("device.hbm.bandwidth=", f"--set 'device.hbm.bandwidth=': {_SHAPE}"),
        (
            "devise.hbm.bandwidth=3 TB/s",
            "unknown target of --set 'devise'; did you mean 'device'? (allowed: device, engine, model, system)",
        ),
        (
            "device.hbm.bandwith=3 TB/s",
            "--set 'device.hbm.bandwith=3 TB/s': unknown key 'bandwith'; did you mean 'bandwidth'? "
            "(allowed: bandwidth, basis, bus, capacity, source, type)",
        ),
        ("device.hbm=3 TB/s", "--set device: hbm: expected keys and values (found '3 TB/s')"),
        (
            "device.hbm.bandwidth.x=3",
            "--set 'device.hbm.bandwidth.x=3': hbm.bandwidth is a value and holds no keys",
        ),
        ("model.attention.7.kv_heads=4", "--set 'model.attention.7.kv_heads=4': '7' is not a position from 0 to 0"),
        ("model.attention.²=4", "--set 'model.attention.²=4': '²' is not a position from 0 to 0"),
        ("model.attention.0=4", "--set 'model.attention.0=4': names a list, not a value"),
        ("model.attention=4", "--set model: attention: expected a list (found '4')"),
        (
            "model.attention.0.kv_heads=four",
            "--set model: attention.0.full.kv_heads: expected a whole number (found 'four')",
        ),
        (
            "model.attention.0.kv_heads=3",
            "--set model: attention.0.full: q_heads 32 is not a multiple of kv_heads 3",
        ),
        ("model.layers=-1", "--set model: layers: expected at least 1 (found '-1')"),
        ("engine.block_tokens=0", "--set engine: block_tokens: expected at least 1 (found '0')"),
        (
            "system.host_memory=512 Gib",
            "--set system: host.memory: '512 Gib' has the unit 'Gib', expected 'B' (8 bits are 1 byte) as in '80 GiB'",
        ),
        (
            "device.price.per_hour=3 EUR/h",
            "--set device: price.per_hour: '3 EUR/h' has the unit 'EUR/h', expected 'USD/h' as in '2.69 USD/h'",
        ),
    ],
)
def test_a_change_that_cannot_be(refusal: Callable[[str], str], change: str, message: str) -> None:
    assert refusal(f"step llama-3.1-8b --on h100 --set '{change}'") == message


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("3.35 TB", "'3.35 TB' has the unit 'B', expected 'B/s' as in '3.35 TB/s'"),
        ("-3 TB/s", "'-3 TB/s' is outside 100000 to 1e+16 B/s; write for example '3.35 TB/s'"),
        ("0", "'0' is outside 100000 to 1e+16 B/s; write for example '3.35 TB/s'"),
        ("nan", "'nan' is not finite; write for example '3.35 TB/s'"),
        ("inf", "'inf' is not finite; write for example '3.35 TB/s'"),
        ("1e30 B/s", "'1e30 B/s' is outside 100000 to 1e+16 B/s; write for example '3.35 TB/s'"),
        (
            "3,35 TB/s",
            "'3,35 TB/s' has a comma that separates no thousands; write a decimal point, for example '3.35 TB/s'",
        ),
        ("fast", "'fast' is not a number with a unit, for example '3.35 TB/s'"),
    ],
)
def test_a_bandwidth_that_cannot_be(refusal: Callable[[str], str], value: str, problem: str) -> None:
    message = refusal(f"step llama-3.1-8b --on h100 --set device.hbm.bandwidth='{value}'")
    assert message == f"--set device: hbm.bandwidth: {problem}"
