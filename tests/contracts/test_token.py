"""TestEuro, the artifacts that the Python package ships, and the deployment script."""

import subprocess
import sys
from pathlib import Path

import brownie
from helpers import low

from gridpact.chain.record import Record

ROOT = Path(__file__).resolve().parent.parent.parent


def test_mint_isTheOwners(TestEuro, manager, outsider):
    token = manager.deploy(TestEuro)
    assert (token.name(), token.symbol(), token.decimals()) == ("Test Euro", "tEUR", 6)
    token.mint(outsider, 5, {"from": manager})
    assert token.balanceOf(outsider) == token.totalSupply() == 5
    with brownie.reverts(f"OwnableUnauthorizedAccount: {low(outsider)}"):
        token.mint(outsider, 5, {"from": outsider})


def test_artifacts_areUpToDate():
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "artifacts.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_deploy_writesTheRecord(TestEuro, TradeSettlement, VirtualAggregator, manager, chain):
    before = chain.height
    brownie.run("deploy")
    name = brownie.network.show_active()
    record = Record.read(ROOT / "deploy" / "records" / f"{name}.json")
    assert (record.network, record.chain_id, record.block) == (name, chain.id, before + 1)
    assert record.manager == manager
    aggregator = VirtualAggregator.at(record.aggregator)
    assert (aggregator.owner(), aggregator.referee()) == (manager, record.referee)
    settlement = TradeSettlement.at(record.settlement)
    assert settlement.aggregator() == record.aggregator
    assert settlement.token() == record.token == TestEuro.at(record.token).address
    assert (settlement.supplier(), settlement.metering()) == (record.supplier, record.metering)
    assert set(record.transactions) == {"Clerk", "SealedReferee", "TestEuro", "TradeSettlement", "VirtualAggregator"}
