"""Every scheme against its case file: neutral setting, order of strengths, forbidden models, hand-derived figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.stack import parse_stack, scheme_names
from kvwall.workloads.model_lookup import find_model

FOLDER = Path(__file__).parent.parent / "cases"
FILES: dict[str, dict[str, Any]] = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}
CASES = [pytest.param(case, id=f"{name}-{i}") for name, file in FILES.items() for i, case in enumerate(file["cases"])]
MODELS = ("llama-3.1-8b", "llama-2-7b", "gemma-3-27b", "qwen3.5-27b", "deepseek-v3")
#: A file may name further models that its scheme is for.
MODELS_OF = {name: (*MODELS, *file.get("models", ())) for name, file in FILES.items()}
NAMES_AND_MODELS = [(name, model) for name in sorted(FILES) for model in MODELS_OF[name]]
CONTEXTS = np.array([100.0, 1000.0, 8192.0, 32768.0, 100_000.0])


def allowed(scheme: str, model: str) -> bool:
    try:
        parse_stack(scheme).check(find_model(model)[1])
    except ForbiddenError:
        return False
    return True


def test_every_scheme_has_a_case_file_and_every_file_a_scheme() -> None:
    assert set(FILES) == set(scheme_names())
    for name, file in FILES.items():
        assert file["scheme"] == name
        assert len(file["cases"]) >= 3, name
        assert all(len(case["derivation"].split()) > 3 and case["source"] for case in file["cases"]), name


@pytest.mark.parametrize("case", CASES)
def test_hand_derived_case(case: dict[str, Any], measure: Any) -> None:
    axes = Axes(case["batch"], case["context"], case.get("phase", "decode"), generated=case.get("generated", 0))
    # An engine without blocks, so that memory is what the derivation counts.
    words = {"engine": "none", **case.get("words", {})}
    found = measure(axes, model=case["model"], scheme=case["scheme"], **words)
    dense = measure(axes, model=case["model"], **words)
    found["extra_matrix_flops"] = found["attention_flops"] - dense["attention_flops"]
    if axes.phase == "prefill":
        found["extra_matrix_flops"] = found["matrix_flops"] - dense["matrix_flops"]
    for name, expected in case["expect"].items():
        if name.startswith("term "):
            assert found["terms"][name.removeprefix("term ")] == pytest.approx(expected, rel=1e-9), case["derivation"]
        elif name == "ideal_ms":
            digits = len(str(expected).partition(".")[2])
            assert f"{found['ideal_s'] * 1e3:.{digits}f}" == str(expected), case["derivation"]
        else:
            assert found[name] == pytest.approx(expected, rel=1e-9), f"{name}: {case['derivation']}"


@pytest.mark.parametrize(("name", "model"), NAMES_AND_MODELS)
@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_neutral_setting_equals_dense(name: str, model: str, phase: Any, setup_of: Any, measures_of: Any) -> None:
    neutral = FILES[name]["neutral"]
    if "none" in neutral:
        assert len(neutral["none"].split()) > 4
        return
    if not allowed(neutral["scheme"], model):
        assert model in FILES[name]["forbidden"]
        return
    axes = Axes(np.array([[1.0], [6.0]]), CONTEXTS, phase)
    found = measures_of(estimate(setup_of(model, neutral["scheme"]), axes))
    dense = measures_of(estimate(setup_of(model), axes))
    for field in neutral["equal"]:
        np.testing.assert_allclose(*np.broadcast_arrays(found[field], dense[field]), rtol=1e-12, err_msg=field)


@pytest.mark.parametrize(("name", "model"), NAMES_AND_MODELS)
def test_stronger_never_takes_more(name: str, model: str, setup_of: Any, measures_of: Any) -> None:
    strengths = FILES[name]["strengths"]
    stacks = [scheme for scheme in strengths["weak_to_strong"] if allowed(scheme, model)]
    axes = Axes(8.0, CONTEXTS, strengths.get("phase", "decode"))
    found = [
        measures_of(estimate(setup_of(model, scheme, engine="none"), axes))[strengths["measure"]] for scheme in stacks
    ]
    for (weaker, before), (stronger, after) in zip(
        zip(stacks, found, strict=True), list(zip(stacks, found, strict=True))[1:], strict=False
    ):
        assert np.all(after <= before * (1 + 1e-12)), f"{stronger} takes more than {weaker} on {model}"


@pytest.mark.parametrize("name", sorted(FILES))
def test_strengths_really_differ(name: str, setup_of: Any, measures_of: Any) -> None:
    strengths = FILES[name]["strengths"]
    axes = Axes(8.0, 32768.0, strengths.get("phase", "decode"))
    model = next(m for m in MODELS_OF[name] if all(allowed(scheme, m) for scheme in strengths["weak_to_strong"]))
    found = [
        measures_of(estimate(setup_of(model, scheme, engine="none"), axes))[strengths["measure"]]
        for scheme in strengths["weak_to_strong"]
    ]
    assert sorted(found, reverse=True) == found
    assert len({float(x) for x in found}) == len(found)


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [(name, model, text) for name, file in FILES.items() for model, text in file["forbidden"].items()],
)
def test_forbidden_model(name: str, model: str, message: str, setup_of: Any) -> None:
    with pytest.raises(ForbiddenError) as error:
        estimate(setup_of(model, name), Axes(1, 1024))
    assert str(error.value) == message


def test_what_is_not_forbidden_is_allowed() -> None:
    for name, file in FILES.items():
        for model in MODELS_OF[name]:
            assert allowed(name, model) == (model not in file["forbidden"]), f"{name} on {model}"
