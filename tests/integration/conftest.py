"""A chain that runs by itself, and tiny3's contracts on it, for commands that connect from outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.record import Record
from gridpact.chain.values import Setting, Theta
from gridpact.community.model import CommunityDay
from gridpact.market.admm.parameters import Penalties, Resolution, Tolerances
from gridpact.node.household_file import write_view
from gridpact.problem.baseline import baseline_net_kw
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views


@dataclass(frozen=True)
class Deployed:
    """Three households in scenario T: who opens the round, and the folder with what each node is given."""

    url: str
    record: Record
    aggregator: Aggregator
    folder: Path

    @property
    def contracts(self) -> Path:
        return self.folder / "contracts.json"

    def household(self, node: int) -> Path:
        return self.folder / f"household-{node}.json"

    def key(self, node: int | str) -> Path:
        return self.folder / f"key-{node}"

    def changed_record(self, path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
        """A copy of the record with one thing changed."""
        values = json.loads(self.contracts.read_text())
        change(values)
        path.write_text(json.dumps(values))
        return path


@pytest.fixture(scope="module")
def deployed(anvil: Network, tiny3: CommunityDay, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    folder = tmp_path_factory.mktemp("nodes")
    web3 = anvil.connect()
    manager = anvil.manager(web3)
    resolution, views = Resolution(), node_views(tiny3, Scenario.T, NetworkAgreement.DSO)
    net_kw = baseline_net_kw(tiny3)
    penalties, tolerances = Penalties.of_community(tiny3, net_kw), Tolerances.of(views, net_kw)
    theta = Theta(len(views), *penalties.on_chain(), *tolerances.on_chain(resolution), 100)
    setting = Setting(4, 6 * 3600, *resolution.on_chain(), 300, 2)
    supplier, metering = (str(address_of(new_key())) for _ in range(2))  # no delivery is settled here
    record = deploy_contracts(manager, theta, setting, "anvil", supplier, metering)
    record.write(folder / "contracts.json")
    keys = {view.node: new_key() for view in views}
    addresses = {node: str(address_of(key)) for node, key in keys.items()}
    stranger = new_key()
    anvil.fund([*addresses.values(), str(address_of(stranger))], 10 * ETHER, web3)
    aggregator = enrol_households(manager, record, addresses)
    mint_tokens(manager, record, list(addresses.values()), 1000 * 10**6)
    result = Deployed(str(anvil.rpc_url), record, aggregator, folder)
    for view in views:
        write_view(view, result.household(view.node))
        result.key(view.node).write_text(keys[view.node] + "\n")
    result.key("stranger").write_text(stranger + "\n")
    return result
