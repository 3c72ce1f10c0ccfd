"""Which kernel family serves an attention."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS
from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import UnknownNameError
from kvwall.simulator.kernel_time.attention import ATTENTION_FAMILIES, family_for
from kvwall.simulator.kernel_time.points import Points

LLAMA = Points(batch=16.0, kv_len=4096.0, q_heads=32.0, kv_heads=8.0, head_dim=128.0, value_dim=128.0)


def chosen(device, framework, kernel="decode_attention", dtype="bf16", kv_dtype="bf16", points=LLAMA) -> str:
    return str(family_for(kernel, DEVICES.load(device), framework, dtype, kv_dtype, points))


@pytest.mark.parametrize(
    ("device", "framework", "kernel", "dtype", "kv_dtype", "family"),
    [
        ("h100-sxm5-80gb", "vllm", "decode_attention", "bf16", "bf16", "decode/fa3-bf16"),
        ("h200-sxm-141gb", "sglang", "decode_attention", "bf16", "fp8", "decode/fa3-fp8"),
        ("a100-sxm4-80gb", "vllm", "decode_attention", "fp16", "fp16", "decode/fa2-bf16"),
        ("l40s", "vllm", "decode_attention", "bf16", "fp8", "decode/generic-fp8"),
        ("a100-sxm4-80gb", "sglang", "decode_attention", "bf16", "bf16", "decode/generic"),
        ("h100-sxm5-80gb", "trtllm", "decode_attention", "bf16", "bf16", "decode/xqa-bf16-narrow"),
        ("h100-sxm5-80gb", "trtllm", "decode_attention", "bf16", "fp8", "decode/xqa-fp8-d128"),
        ("b200-sxm-180gb", "vllm", "decode_attention", "bf16", "bf16", "decode/generic"),
        ("mi300x", "vllm", "prefill_attention", "bf16", "fp8", "prefill/generic-fp8-cache"),
        ("mi300x", "vllm", "prefill_attention", "fp8", "fp8", "prefill/generic-fp8"),
        ("h100-sxm5-80gb", "vllm", "prefill_attention", "bf16", "fp8", "prefill/fa3-fp8"),
        ("l40s", "vllm", "prefill_attention", "bf16", "bf16", "prefill/fa2-bf16"),
        ("h100-sxm5-80gb", "trtllm", "prefill_attention", "fp8", "fp8", "prefill/trtllm-fp8"),
        ("h100-sxm5-80gb", "trtllm", "prefill_attention", "bf16", "fp8", "prefill/trtllm-bf16-fp8-cache"),
        ("h100-sxm5-80gb", "trtllm", "mla_decode", "bf16", "fp8", "mla-decode/fp8"),
        ("l40s", "vllm", "mla_prefill", "bf16", "fp8", "mla-prefill/generic-fp8"),
    ],
)
def test_the_family_by_device_framework_and_dtypes(device, framework, kernel, dtype, kv_dtype, family):
    assert chosen(device, framework, kernel, dtype, kv_dtype) == family


def test_trtllm_chooses_by_shape():
    shapes = Points(
        batch=np.array([1.0, 1, 64, 64, 64]),
        kv_len=np.array([512.0, 1024, 8192, 8192, 8192]),
        q_heads=np.array([32.0, 32, 8, 64, 32]),
        kv_heads=np.array([8.0, 8, 8, 1, 8]),
        head_dim=np.array([128.0, 64, 128, 128, 256]),
    )
    device = DEVICES.load("h100-sxm5-80gb")
    assert family_for("decode_attention", device, "trtllm", "bf16", "bf16", shapes).tolist() == [
        "decode/mmha-bf16", "decode/xqa-bf16-narrow", "decode/mmha-bf16", "decode/mmha-bf16", "decode/xqa-bf16-wide",
    ]  # fmt: skip


def test_heads_above_256_channels_take_flash_attention_4_on_hopper():
    wide = Points(batch=1.0, kv_len=100.0, q_heads=8.0, kv_heads=1.0, head_dim=512.0)
    assert chosen("h100-sxm5-80gb", "vllm", points=wide) == "decode/fa4-bf16"
    assert chosen("a100-sxm4-80gb", "vllm", points=wide) == "decode/generic"


def test_columns_of_names_and_shapes_go_together():
    names = family_for(
        np.array(["decode_attention", "prefill_attention"]), DEVICES.load("h100-sxm5-80gb"),
        np.array(["vllm", "trtllm"]), "bf16", np.array(["fp8", "bf16"]), LLAMA,
    )  # fmt: skip
    assert names.tolist() == ["decode/fa3-fp8", "prefill/trtllm-bf16"]


def test_an_unknown_kernel_is_named_with_what_is_allowed():
    with pytest.raises(UnknownNameError) as error:
        chosen("h100-sxm5-80gb", "vllm", "decode_atention")
    assert str(error.value) == (
        "unknown attention kernel 'decode_atention'; did you mean 'decode_attention'? "
        "(allowed: decode_attention, mla_decode, mla_prefill, prefill_attention)"
    )


def test_every_attention_fit_gives_every_parameter_of_its_family_within_bounds():
    fitted = 0
    for calibration in KERNEL_CALIBRATIONS.all().values():
        for name, fit in calibration.fits.items():
            if name in ATTENTION_FAMILIES:
                fitted += 1
                bounds = {p.name: (p.low, p.high) for p in ATTENTION_FAMILIES[name].parameters}
                assert list(fit.parameters) == list(bounds)
                assert all(low * 0.999 <= fit.parameters[key] <= high * 1.001 for key, (low, high) in bounds.items())
    assert fitted >= 20
