"""A scenario as the controls of a page: its first lengths and users, the mean of a mix."""

from __future__ import annotations

from kvwall.simulator.page.controls import Controls
from kvwall.workloads.scenario import Scenario


def controls_of_scenario(scenario: Scenario) -> Controls:
    """Model, machine, lengths, users, targets and schemes of ``scenario``; a mix counts by its shares."""
    parts = [(1.0, scenario.workload)] if scenario.workload else [(part.share, part) for part in scenario.mix]
    prompt = round(sum(share * part.input_tokens[0] for share, part in parts))
    answer = round(sum(share * part.output_tokens[0] for share, part in parts))
    targets, users = scenario.targets, scenario.users[0]
    start = Controls()
    return Controls(
        model=scenario.model,
        on=scenario.on,
        engine=scenario.engine,
        schemes=";".join(scenario.schemes) if scenario.schemes else start.schemes,
        batch=str(users),
        context=str(prompt + answer // 2),
        users=str(users),
        input=str(prompt),
        output=str(answer),
        ttft_ms="" if targets.ttft_s is None else f"{targets.ttft_s * 1e3:g}",
        tpot_ms="" if targets.tpot_s is None else f"{targets.tpot_s * 1e3:g}",
    )
