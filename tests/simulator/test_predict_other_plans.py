"""A device whose kernels nobody measured borrows the plan of another generation, in a step as in a table."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kvwall.hardware.device import DEVICES
from kvwall.simulator.cli.main import main
from kvwall.simulator.kernel_prices import calibration_of
from kvwall.simulator.kernel_time.call import KernelCall
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.earlier_plans import lenders
from kvwall.simulator.predicting.fits import chooser_of
from kvwall.simulator.predicting.prediction import Prediction, predict_kernels
from kvwall.simulator.predicting.table import Table

B200 = "b200-sxm-180gb"
SHAPE = {"kernel": "decode_attention", "dtype": "bf16", "q_len": "1", "n_q_heads": "32", "n_kv_heads": "8",
         "head_dim": "128", "cache": "cold"}  # fmt: skip


def predicted(**cells: str) -> Prediction:
    row = {**SHAPE, **cells}
    extra = f"cache={row.pop('cache')}"
    table = Table("", (*row, "extra"), {key: [cell] for key, cell in ({**row, "extra": extra}).items()}, {})
    return predict_kernels(table, chooser_of(None))


@pytest.mark.parametrize(
    ("borrower", "first"),
    [
        (B200, "h100-sxm5-80gb"),  # stacked memory, one generation away, the same form
        ("rtx-5090", "l40s"),  # graphics memory
        ("mi300x", None),  # no other vendor
        ("t4", None),  # older than any plan that is known
    ],
)
def test_the_nearest_generation_of_a_like_chip_lends(borrower, first):
    measured = ("a100-sxm4-80gb", "h100-nvl-94gb", "h100-sxm5-80gb", "l40s")
    assert next(iter(lenders(DEVICES.resolve(borrower), measured)), None) == first


@pytest.mark.parametrize("engine", ["vllm", "trtllm"])
@pytest.mark.parametrize(("batch", "kv_len"), [(1, 512), (16, 4096), (64, 16384)])
def test_a_step_takes_the_loan_that_a_table_takes(engine, batch, kv_len):
    device = DEVICES.load(B200)
    name, _, prices = calibration_of(B200, device, engine, "auto")
    assert prices is not None
    assert prices.borrowed
    assert name == f"h100-sxm5-80gb.{engine}"
    points = Points(batch=float(batch), kv_len=float(kv_len), q_heads=32.0, kv_heads=8.0)
    time = prices.time(KernelCall("decode_attention", "bf16", "bf16", points, 1.0))
    row = predicted(gpu="b200", framework=engine, batch=str(batch), kv_len=str(kv_len))
    assert time is not None
    assert time.seconds * 1e6 == pytest.approx([row.low_us[0], row.predicted_us[0], row.high_us[0]])
    assert "the plan of another generation" in time.source
    assert "the plan of another generation" in row.note[0]
    # A loan never undercuts the data sheet, and its band is wider than that of the lender at home.
    own = predicted(gpu="h100", framework=engine, batch=str(batch), kv_len=str(kv_len))
    assert time.seconds.min() * 1e6 >= row.ideal_us[0]
    assert row.high_us[0] / row.predicted_us[0] > own.high_us[0] / own.predicted_us[0]


def test_units_keep_up_with_a_memory_that_gives_each_of_them_more():
    # 64 long sequences stream: were the walk of a block only as fast as on the lender, it would miss the faster memory.
    long = predicted(gpu="b200", framework="vllm", batch="64", kv_len="32768")
    assert long.ideal_us[0] < long.predicted_us[0] < 1.5 * long.ideal_us[0]


@pytest.mark.parametrize(("device", "engine"), [("mi300x", "vllm"), (B200, "llamacpp")])
def test_without_a_lender_the_class_defaults_stay(device, engine):
    name = DEVICES.resolve(device)
    assert calibration_of(name, DEVICES.load(name), engine, "auto")[::2] == ("uncalibrated", None)


def test_products_are_not_lent():
    row = predicted(gpu="b200", framework="vllm", kernel="gemm", m="16", n="4096", k="4096")
    assert row.calibration == ("uncalibrated",)


def test_a_borrowed_collective_follows_the_borrowers_link():
    # Where bytes decide, twice the link is half the time.
    rows = [predicted(gpu=gpu, framework="vllm", kernel="all_reduce", cache="cold;num_gpus=8;message_bytes=1000000000")
            for gpu in ("h100", "b200")]  # fmt: skip
    links = [machine_of(DEVICES.load(gpu)).link_bytes_per_s for gpu in ("h100", "b200")]
    assert rows[1].calibration == ("h100-sxm5-80gb.vllm.collectives",)
    ratio = rows[0].predicted_us[0] / rows[1].predicted_us[0]
    assert ratio == pytest.approx(links[1] / links[0], rel=0.05)


def test_a_step_says_what_is_borrowed(capsys):
    assert main(["step", "llama-3.1-8b", "--on", "b200", "--batch", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["assumptions"]
    assert any(line.startswith("attention and collectives borrowed from h100-sxm5-80gb.vllm") for line in told)


def test_a_change_of_the_data_sheet_moves_a_loan():
    device = DEVICES.load(B200)
    slower = replace_bandwidth(device, 0.5)
    points = Points(batch=64.0, kv_len=16384.0, q_heads=32.0, kv_heads=8.0)
    call = KernelCall("decode_attention", "bf16", "bf16", points, 1.0)
    times = [calibration_of(B200, sheet, "vllm", "auto")[2].time(call).seconds[1] for sheet in (device, slower)]
    assert np.all(times[1] > 1.3 * times[0])


def replace_bandwidth(device, factor):
    memory = device.hbm.model_copy(update={"bandwidth_bytes_per_s": device.hbm.bandwidth_bytes_per_s * factor})
    return device.model_copy(update={"hbm": memory})
