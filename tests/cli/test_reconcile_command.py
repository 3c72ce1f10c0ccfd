"""``kvwall reconcile`` on the command line."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from kvwall.simulator.cli.main import main

LOGS = Path(str(files("kvwall.validate"))) / "logs" / "startup"
L40S = str(LOGS / "vllm-0.7.1-qwen2.5-32b-l40s-tp2.log")


def test_json_keeps_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", L40S, "--on", "l40s", "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {"schema_version", "kvwall_version", "assumptions", "warnings", "lines"} <= set(document)
    for line in document["lines"]:
        assert {"what", "engine", "kvwall", "ratio", "verdict", "why"} <= set(line)
        assert line["verdict"] in {"agrees", "within band", "differs", "impossible", "not predicted"}
    pool = next(line for line in document["lines"] if line["what"] == "KV pool" and line["basis"] == "flags")
    assert pool["engine"] == 7.71
    assert set(pool["kvwall"]) == {"low", "mid", "high"}
    blocks = next(line for line in document["lines"] if line["what"] == "blocks" and line["basis"] == "log")
    assert (blocks["engine"], blocks["kvwall"], blocks["unit"], blocks["verdict"]) == (3947, 3947, "blocks", "agrees")


def test_the_table_keeps_to_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", L40S, "qwen2.5-32b", "--on", "l40s"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "from the flags alone" in [line.strip() for line in lines]
    assert "given what the log states" in [line.strip() for line in lines]
    assert max(map(len, lines)) <= 100


def test_a_difference_is_an_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = tmp_path / "start.log"
    log.write_text("INFO 01-11 15:51:18 llm_engine.py:275] # GPU blocks: 8348, # CPU blocks: 512\n")
    assert main(["reconcile", str(log), "llama-2-7b", "--on", "a10", "--weights", "fp16"]) == 0
    out = capsys.readouterr().out
    assert "impossible" in out
    assert "line 1: blocks 8348 cannot be true" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such.log"], "kvwall: no-such.log: cannot be read (No such file or directory)\n"),
        (
            [str(LOGS / "vllm-0.5-llama-3-70b.log")],
            f"kvwall: {LOGS / 'vllm-0.5-llama-3-70b.log'}: the log does not say which model: give MODEL "
            "(kvwall list models)\n",
        ),
        (
            [L40S, "qwen2.5-32b"],
            None,
        ),
        ([L40S, "--on", "l40z"], "kvwall: unknown device 'l40z'; did you mean 'l40s'?\n"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["reconcile", *arguments])
    captured = capsys.readouterr()
    if message is None:  # 44.42 GiB are told to be an L40S or an A40, which start alike
        assert (status, captured.err) == (0, "")
        return
    assert (status, captured.out, captured.err) == (2, "", message)
