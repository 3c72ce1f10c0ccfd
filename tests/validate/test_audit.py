"""The audit: which rows hold, how the others are explained, and that the documentation shows its figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kvwall.simulator.cli.main import main
from kvwall.validate.audit import AuditAnswer, run_audit
from kvwall.validate.audit_tables import markdown
from kvwall.validate.log_rows import half_width, pool_rows, refusal_rows
from kvwall.validate.pools import LEFT_OUT

DOCS = Path(__file__).parents[2] / "docs" / "kv-capacity.md"
RATES = [
    "E007", "E013", "E087", "E098", "E182", "E186", "E187", "E192", "E193", "E194", "E195",
    "N013", "N022", "N023", "N031", "N037", "N038", "N039",
]  # fmt: skip
#: Rows that no rule of kvwall gives, each for the reason in its reading.
UNEXPLAINED = {"E006", "E043", "E074", "E178", "N005", "N025"}


@pytest.fixture(scope="module")
def answer() -> AuditAnswer:
    return run_audit()


@pytest.mark.parametrize("row", RATES)
def test_bytes_of_a_token_and_tokens_of_the_pool(answer: AuditAnswer, row: str) -> None:
    check = next(check for check in answer.rates if check.id == row)
    assert abs(check.error) <= check.tolerance
    assert check.tolerance <= 0.02
    assert abs(check.predicted_tokens - check.printed_tokens) <= check.tokens_within


def test_every_rate_holds(answer: AuditAnswer) -> None:
    assert [check.id for check in answer.rates if not (check.holds and check.tokens_hold)] == []


def test_rules_hold_but_for_the_rows_with_a_reason(answer: AuditAnswer) -> None:
    assert {check.id for check in answer.rules if not check.holds} == UNEXPLAINED
    assert all(len(check.rule) > 10 for check in answer.rules)


def test_pages_give_the_printed_count_to_the_digit(answer: AuditAnswer) -> None:
    exact = {check.id for check in answer.rules if check.what == "tokens" and check.predicted == check.printed}
    assert exact == {"E050", "E051", "E067", "E080", "E084", "E113"}


def test_a_pipeline_halves_what_the_engine_charged_in_full(answer: AuditAnswer) -> None:
    need = next(check for check in answer.rules if check.id == "N005")
    assert (need.printed, need.predicted) == (24.0, 12.0)


def test_pools_from_flags_alone(answer: AuditAnswer) -> None:
    summary = answer.pool_summary
    assert summary.n >= 25
    assert summary.median_error < 0.05
    assert summary.coverage > 0.6
    assert {check.id for check in answer.pools} & set(LEFT_OUT) == set()


def test_quoted_logs_follow_from_their_own_lines(answer: AuditAnswer) -> None:
    reconciled = [check for check in answer.logs if check.rules]
    close = [check for check in reconciled if check.within_two_percent == check.rules]
    assert len(close) >= 16
    apart = {check.file for check in reconciled} - {check.file for check in close}
    assert apart == {"vllm-0.15.2-qwen3-coder-30b-a3b-fp8-pp2.log", "vllm-qwen3.6-27b-fp8-tp2.log"}


def test_rows_are_known_once_and_every_rule_is_read() -> None:
    rows = (*pool_rows(), *refusal_rows())
    assert len({row.id for row in rows}) == len(rows)
    assert [row.id for row in rows if row.audit == "rule" and not row.reading] == []
    assert set(LEFT_OUT) <= {row.id for row in rows}


def test_half_of_the_last_digit() -> None:
    assert [half_width(x) for x in ("50", "2.9", "7.71")] == pytest.approx([0.5, 0.05, 0.005])
    assert half_width("0.51953125") == 0.5 / 1024


def test_the_documentation_shows_the_audit(answer: AuditAnswer) -> None:
    shown, made = (_tables(text) for text in (DOCS.read_text(encoding="utf-8"), markdown(answer)))
    assert list(shown) == list(made)
    for title in ("Bytes of a token", "Rules of the engines", "Start-up logs"):
        assert shown[title] == made[title], f"{title}: put the output of 'kvwall audit --markdown' below 'Results'"
    pools = "KV capacity from flags alone"
    for old, new in zip(shown[pools][2:], made[pools][2:], strict=True):
        assert old.split(" | ")[:6] == new.split(" | ")[:6]


def _tables(text: str) -> dict[str, list[str]]:
    """Lines of the table below each heading of the third level."""
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return {
        title: [line for line in body.splitlines() if line.startswith("|")]
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"rates", "rules", "pools", "logs", "pool_summary"} <= set(document)
    assert main(["audit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "KV capacity from flags alone" in lines
