"""Commands by hand, each a process, on a chain that runs already: `node` (three households in scenario T), `relay` and
`audit`.
"""

from __future__ import annotations

import json
import signal
import urllib.request

import pytest
from chains import skip_without
from integration.conftest import Deployed, deployed  # noqa: F401  (fixture)
from waiting import SECONDS

from e2e.conftest import Shell
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Phase

skip_without("anvil")


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
        out, err = process.communicate(timeout=SECONDS)
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
    assert shell.is_quiet_within(SECONDS), shell.names()

    audit = shell.start("audit", "--contracts", deployed.contracts, "--rpc", deployed.url)
    out, err = audit.communicate(timeout=SECONDS)
    assert (audit.returncode, err) == (0, "")
    assert out == (
        f"gridpact: round {number}, {outcome.iterations} iterations checked from the chain alone: all as it must be\n"
    )


@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM])
def test_relay_byHand(shell: Shell, deployed: Deployed, request_to_end: signal.Signals) -> None:  # noqa: F811
    process = shell.start(
        "relay", "--contracts", deployed.contracts, "--rpc", deployed.url,
        "--key-file", deployed.key("stranger"), "--port", "0",
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("gridpact: relaying at http://127.0.0.1:")
    url = said.split()[3].rstrip(";")
    with urllib.request.urlopen(f"{url}/rounds/1/iterations/1", timeout=SECONDS) as answer:
        assert json.load(answer) == {"submissions": []}
    process.send_signal(request_to_end)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert out == ""
    assert err == "gridpact: stopped; all processes that it started are ended\n"
    assert shell.is_quiet_within(SECONDS), shell.names()
