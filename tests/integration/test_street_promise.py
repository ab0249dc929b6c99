"""A round of a street with phases on Anvil, in the open form: node 0 keeps what it published, or does not."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import pytest

import gridpact.node.node
from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.deploy import deploy_contracts, enrol_households
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Phase
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.community.street import PhaseFeeder
from gridpact.grid.street_limits import PublishedStreet, decoded_street
from gridpact.manage.terms import terms_of
from gridpact.market.admm.codec import published
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.prepared import Prepared
from gridpact.node.audit import audit_round
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.problem.scenario import Scenario
from gridpact.problem.view import NodeView

HOMES, DAY = 5, "06-10"
HOUR = 3600  # nobody is silent: a busy machine is no fault
PATIENCE = 300.0


def thin_street(highest_pu: float) -> CommunityDay:
    """The first homes of fontana16x3 on lines of twelve times their impedance, where limits bind."""
    whole = read_community("fontana16x3").on(DAY)
    assert isinstance(whole.feeder, PhaseFeeder)
    lines = tuple(replace(line, impedance_ohm=12 * line.impedance_ohm) for line in whole.feeder.lines[:HOMES])
    feeder = replace(
        whole.feeder,
        lines=lines,
        connections=whole.feeder.connections[:HOMES],
        voltage_min_pu=2 - highest_pu,
        voltage_max_pu=highest_pu,
    )
    return replace(whole, households=whole.households[:HOMES], feeder=feeder)


@dataclass
class Street:
    """A deployment of open rounds in G on Anvil, and its nodes as threads."""

    network: Network
    day: CommunityDay
    reports: dict[int, NodeReport | Exception] = field(default_factory=dict)

    def play(self) -> Aggregator:
        """A whole round; the manager's view of it."""
        prepared = Prepared.of(self.day, Scenario.G)
        theta, setting = terms_of(Negotiation.of(prepared), HOUR, 2, 300)
        web3 = self.network.connect()
        manager, supplier = self.network.manager(web3), str(address_of(new_key()))
        record = deploy_contracts(manager, theta, setting, "street", supplier, supplier)
        keys = {view.node: new_key() for view in prepared.views}
        addresses = {node: str(address_of(key)) for node, key in keys.items()}
        self.network.fund(list(addresses.values()), ETHER, web3)
        aggregator = enrol_households(manager, record, addresses)
        round_ = aggregator.open_round(20260701)
        threads = [
            threading.Thread(target=self._live, args=(view, record, keys[view.node], round_), daemon=True)
            for view in prepared.views
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)
        assert [report for report in self.reports.values() if isinstance(report, Exception)] == []
        return aggregator

    def _live(self, view: NodeView, record: Record, key: str, round_: int) -> None:
        try:
            account = ChainAccount(self.network.connect(), key)
            ledgers = Aggregator.of(record, account.web3, account), Settlement.of(record, account.web3, account)
            self.reports[view.node] = Node(view, *ledgers).run(round_)
        except Exception as error:
            self.reports[view.node] = error


def test_honestOperator_isBelieved_whereLimitsBind(anvil: Network) -> None:
    street = Street(anvil, thin_street(1.03))
    aggregator = street.play()
    assert aggregator.outcome(1).phase is Phase.CONVERGED
    audit = audit_round(aggregator, 1)
    assert (audit.false_claims, audit.contract_errors, audit.plan_errors) == ((), (), ())
    book = aggregator.declarations(1)[0].book
    assert isinstance(street.day.feeder, PhaseFeeder)
    assert decoded_street(book) == PublishedStreet.of(street.day.feeder)
    assert all(isinstance(report, NodeReport) and report.agreed for report in street.reports.values())
    assert not any(isinstance(report, NodeReport) and report.gas.get("accuse") for report in street.reports.values())


def test_operatorThatBreaksWhatItPublished_isProvedFalse(anvil: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """It publishes 0.97 to 1.03 p.u., and answers within 0.90 to 1.10: a household accuses, and the round ends."""
    promised = thin_street(1.03).feeder
    assert isinstance(promised, PhaseFeeder)
    book = PublishedStreet.of(promised).encoded()
    monkeypatch.setattr(gridpact.node.node, "published", lambda view: published(view) if view.node else book)
    street = Street(anvil, thin_street(1.10))
    aggregator = street.play()
    assert aggregator.outcome(1).phase is Phase.ABANDONED
    reports = [report for report in street.reports.values() if isinstance(report, NodeReport)]
    assert len(reports) == HOMES + 1
    assert not any(report.agreed for report in reports if report.node)
    assert sum(report.gas.get("accuse", 0) for report in reports) > 0
