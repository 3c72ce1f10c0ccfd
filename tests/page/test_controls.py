"""What a page is asked: links, command lines, names that are no paths, uploads, and what its views say."""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.step import step
from kvwall.simulator.cli.main import main
from kvwall.simulator.page.controls import Controls, controls_from, controls_of_link
from kvwall.simulator.page.export import page_of
from kvwall.simulator.page.grid import grid_of
from kvwall.simulator.page.naming import keep_upload, named
from kvwall.simulator.page.scenario_controls import controls_of_scenario
from kvwall.simulator.page.stacks import beside, judged, options_of, upon, without, written
from kvwall.simulator.page.views import VIEWS, View, comparison
from kvwall.workloads.scenario import SCENARIOS

#: Enough of a config.json to be a model.
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 1024, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 4096, "vocab_size": 32000,
    "max_position_embeddings": 8192, "torch_dtype": "bfloat16",
}  # fmt: skip


def data_url(text: str) -> str:
    return "data:application/json;base64," + base64.b64encode(text.encode()).decode()


def test_a_link_holds_the_whole_state() -> None:
    asked = Controls(model="qwen3-32b", on="h200:4", schemes="none;kivi:bits=2+offload:fraction=0.5", price="2.5")
    assert controls_of_link("?" + asked.query) == asked
    assert Controls().query == ""


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_every_view_answers_with_figures_and_a_command(view: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = VIEWS[view](named(Controls()))
    assert found.says
    assert found.figures
    for figure in found.figures:
        assert figure.layout.title.text
    words = shlex.split(found.command)
    assert words[0] == "kvwall"
    assert main([*words[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1


def test_stacks_are_put_beside_and_upon_each_other() -> None:
    assert written("kivi", {"bits": "4", "group": " "}) == "kivi:bits=4"
    assert beside(("none", "fp8"), "fp8") == "none;fp8"
    assert upon(("none", "quest"), "kivi:bits=4") == "none;quest+kivi:bits=4"
    assert upon(("none",), "fp8") == "fp8"
    assert without(("none", "fp8"), 0) == "fp8"
    assert without(("fp8",), 0) == "none"


def test_a_stack_is_judged_as_the_command_line_does() -> None:
    applies, told = judged(Controls(), "fp8")
    assert applies
    assert told.startswith("fp8: 65,536 bytes per token and GPU")
    refused, why = judged(Controls(model="deepseek-v3", on="h200:8"), "kivi:bits=2")
    assert not refused
    assert "deepseek-v3" in why.lower()
    assert "bits" in judged(Controls(), "kivi:bits=3")[1]


def test_options_of_a_scheme_say_what_is_allowed() -> None:
    title, options = options_of("kivi")
    assert title
    assert {"bits", "group"} <= {option.name for option in options}
    assert all(option.allowed for option in options)
    assert options_of("no such scheme") == ("", ())


def test_axes_carry_their_units() -> None:
    for view in VIEWS.values():
        for figure in view(named(Controls())).figures:
            assert figure.layout.xaxis.title.text or figure.layout.yaxis.title.text, figure.layout.title.text


def test_the_page_says_what_the_command_line_says() -> None:
    controls = named(Controls(context="16k", batch="8"))
    row = comparison(controls).rows[0]
    point = step("llama-3.1-8b", on="h100:1", batch=[8], context=[16384]).points[0]
    assert row.step_s == point.step_s  # type: ignore[union-attr]


def test_the_grid_of_an_export_says_it_too() -> None:
    controls = named(Controls(batch="48"))
    grid = grid_of(controls)
    b, c = grid["start"]["batch"], grid["start"]["context"]
    assert (grid["batch"][b], grid["context"][c]) == (48, 8192)
    point = step("llama-3.1-8b", on="h100:1", batch=[48], context=[8192]).points[0]
    assert grid["mid"][0][b][c] == pytest.approx(point.step_s.mid * 1e3, rel=1e-5)
    assert grid["fits"][0][b][c] == point.fits


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model": "/etc/passwd"}, "unknown model '/etc/passwd'"),
        ({"model": "config.json"}, "unknown model 'config.json'"),
        ({"on": "/etc/passwd"}, "unknown device '/etc/passwd'"),
        ({"on": "mine.yaml:2"}, "unknown device 'mine.yaml'"),
        ({"weights": "w.yaml"}, "unknown weights 'w.yaml'"),
        ({"model": "lama-3.1-8b"}, "unknown model 'lama-3.1-8b'; did you mean 'llama-3.1-8b'?"),
    ],
)
def test_nothing_is_opened_by_its_path(
    words: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(InputError) as error:
        named(replace(Controls(), **words))
    assert str(error.value).startswith(message)


def test_an_uploaded_model_is_asked_about_by_its_bytes() -> None:
    name = keep_upload(data_url(json.dumps(CONFIG)))
    assert name == keep_upload(data_url(json.dumps(CONFIG)))
    row: Any = comparison(named(Controls(model=name))).rows[0]
    # 4 layers x 2 heads x 128 channels x 2 tensors x 2 bytes = 4 KiB a token.
    assert row.kv_stored_bytes == 4096 * 32 * 8192


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (data_url("{"), "config.json: line 1: not JSON"),
        (data_url("{}"), "config.json: "),
        ("data:;base64,%%%", "config.json: "),
        (data_url("x" * 250_000), "config.json: 250,000 bytes (1 to 200,000 are allowed)"),
        ("x" * 1_000_000, "config.json: is too large (at most 200,000 bytes)"),
    ],
)
def test_a_bad_upload_is_one_line(contents: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        keep_upload(contents)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_long_texts_are_refused() -> None:
    with pytest.raises(InputError, match="500 characters are too many"):
        controls_from({"model": "x" * 500})


def test_a_page_escapes_what_it_shows_and_asks_nobody() -> None:
    view = View("<script>alert(1)</script>", VIEWS["Capacity"](named(Controls())).figures, "kvwall '</pre>'")
    page = page_of({"<b>": view}, "</title><script>")
    assert "<script>alert(1)" not in page
    assert "</title><script>" not in page.partition("<style>")[0].replace("</title><style>", "")
    assert "src=" not in page.partition("<script>")[0]
    assert len(page) < 6_000_000


def test_a_scenario_sets_the_controls() -> None:
    controls = controls_of_scenario(SCENARIOS.load("default"))
    # 0.7 x 1,200 + 0.3 x 16,384 tokens of prompt, 0.7 x 300 + 0.3 x 500 of answer.
    assert (controls.input, controls.output, controls.ttft_ms, controls.tpot_ms) == ("5755", "360", "5000", "50")
