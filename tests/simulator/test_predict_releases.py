"""Which release of a library prices a row, and how bands grow beyond the shapes of a fit."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS, kernel_fits, of_one_release
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.fits import chooser_of, near_chooser
from kvwall.simulator.predicting.prediction import Prediction, predict_kernels
from kvwall.simulator.predicting.releases import release_of, standing_for
from kvwall.simulator.predicting.shape_range import OUTSIDE_SPREAD, outside, range_of
from kvwall.simulator.predicting.table import Table

KNOWN = ("0.5.10", "0.5.9", "0.5.14", "2024", "0.5.6.post2")


def predicted(row: dict[str, str], calibration: str | None = None) -> Prediction:
    table = Table("", tuple(row), {key: [cell] for key, cell in row.items()}, {})
    return predict_kernels(table, chooser_of(calibration))


def test_releases_compare_by_age_and_not_as_text():
    # Numbers count as numbers, candidates come before the release and what mends it after.
    ordered = ("0.5.9", "0.5.10rc2", "0.5.10rc10", "0.5.10", "0.5.10.post1", "v0.6.0", "1.3.0rc20")
    found = [release_of(text) for text in ordered]
    assert found == sorted(found)
    assert len(set(found)) == len(ordered)
    assert release_of("2024") is None
    assert release_of("2.23") == release_of("2.23.0")


@pytest.mark.parametrize(
    ("stated", "taken"),
    [
        ("", "0.5.14"),  # nothing stated: the newest
        ("0.5.9", "0.5.9"),
        ("0.5.12", "0.5.10"),  # the newest that is not newer
        ("0.4.1", "0.5.6.post2"),  # older than all: the oldest
        ("9.0.0", "0.5.14"),
        ("2024", "2024"),  # no release, but its own name
        ("2031", "0.5.14"),
    ],
)
def test_a_release_stands_until_the_next_one(stated, taken):
    assert KNOWN[standing_for(stated, KNOWN)] == taken


def test_a_row_is_priced_by_the_fit_of_its_release():
    row = {"gpu": "h100_sxm", "framework": "sglang", "kernel": "all_reduce", "dtype": "bfloat16",
           "kernel_source": "SGLang_CustomAllReduce_eager", "extra": "num_gpus=8;message_bytes=65536"}  # fmt: skip
    old, new, unsaid = (predicted({**row, "source_version": text}) for text in ("0.5.10", "0.5.14", ""))
    assert old.calibration == ("h100-sxm5-80gb.sglang.collectives.0-5-10",)
    assert new.calibration == unsaid.calibration == ("h100-sxm5-80gb.sglang.collectives",)
    # The host's work for one call, which decides here, is a number of each release.
    assert new.predicted_us[0] == unsaid.predicted_us[0]
    assert abs(old.predicted_us[0] / new.predicted_us[0] - 1) > 0.2


def test_a_step_and_the_names_of_a_device_know_the_newest_release_only():
    older = [name for name in KERNEL_CALIBRATIONS.names if of_one_release(name)]
    assert older
    assert not set(older) & set(near_chooser("h100-sxm5-80gb").calibrations)
    newest = KERNEL_CALIBRATIONS.load("h100-sxm5-80gb.sglang.collectives").fits["all_reduce/custom-switch"]
    assert kernel_fits("h100-sxm5-80gb", "sglang")["all_reduce/custom-switch"] == newest


def test_the_distance_outside_is_the_sum_of_the_logarithms():
    known = range_of(Points(batch=np.array([1.0, 16]), kv_len=np.array([64.0, 2048]), warm=1.0))
    assert known == {"batch": (1.0, 16.0), "kv_len": (64.0, 2048.0)}
    asked = Points(batch=np.array([4.0, 64, 64]), kv_len=np.array([64.0, 2048, 32]))
    # Four times the largest batch, and half the shortest context.
    assert outside(asked, known) == pytest.approx([0.0, np.log(4), np.log(4) + np.log(2)])
    assert outside(asked, {}) == 0.0


def test_a_band_grows_with_the_distance_and_the_middle_does_not_move():
    row = {"gpu": "h100", "framework": "vllm", "kernel": "decode_attention", "dtype": "bf16", "kv_len": "8192",
           "n_q_heads": "32", "n_kv_heads": "8", "head_dim": "128"}  # fmt: skip
    inside, beyond = (predicted({**row, "batch": batch}) for batch in ("64", "1024"))
    fit = KERNEL_CALIBRATIONS.load("h100-sxm5-80gb.vllm").fits["decode/fa3-bf16"]
    assert fit.range["batch"] == (1, 64)
    # Both are above 100 us of ideal time; the second lies a factor of 16 outside.
    spread = fit.residual["above 100 us"]
    wide = [float(np.log(made.high_us[0] / made.predicted_us[0])) / 1.2816 for made in (inside, beyond)]
    assert wide == pytest.approx([spread, np.hypot(spread, OUTSIDE_SPREAD * np.log(16))], rel=1e-3)
