"""`gridpact node` by hand: three households in scenario T, a process each, on a chain that runs already."""

from __future__ import annotations

import json

import pytest
from integration.conftest import Deployed, anvil, deployed  # noqa: F401  (fixtures)

from e2e.conftest import Shell, needs
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Phase

pytestmark = needs("anvil")


def test_nodes_byHand(shell: Shell, deployed: Deployed) -> None:  # noqa: F811
    reports = {node: deployed.folder / f"report-{node}.json" for node in (1, 2, 3)}
    processes = [
        shell.start(
            "node", "--contracts", deployed.contracts, "--household", deployed.household(node),
            "--key-file", deployed.key(node), "--rpc", deployed.url, "--out", reports[node],
        )
        for node in (1, 2, 3)
    ]  # fmt: skip
    number = deployed.aggregator.open_round(1)  # nodes that come earlier wait for it
    for process in processes:
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
        assert err == ""
        assert "the round is over" in out
    outcome = deployed.aggregator.outcome(number)
    assert outcome.phase is Phase.CONVERGED
    assert outcome.present == {1, 2, 3}
    said = {node: json.loads(path.read_text()) for node, path in reports.items()}
    assert {report["iterations"] for report in said.values()} == {outcome.iterations}
    # Both partners state the same, and that is what the settlement contract recorded.
    settlement = Settlement.of(deployed.record, deployed.aggregator.web3)
    recorded = {
        (record.lower, record.higher): sorted((t.step, t.energy_wh, t.price_micro) for t in record.trades)
        for record in settlement.recorded(number)
    }
    assert recorded
    for (lower, higher), trades in recorded.items():
        assert sorted(map(tuple, said[lower]["statements"][str(higher)])) == trades
        assert sorted(map(tuple, said[higher]["statements"][str(lower)])) == trades
    assert sum(settlement.net_payment(number, node) for node in (1, 2, 3)) == 0
    # bob alone has PV: he is paid, the others pay.
    assert settlement.net_payment(number, 2) > 0
    # The plan is what the hand says of ann: 1 kW all day, to the solver's 1e-6.
    assert said[1]["schedule"]["injection_kw"] == pytest.approx([-1, -1, -1, -1], abs=1e-6)
    assert shell.is_quiet_within(5), shell.names()
