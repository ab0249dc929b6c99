"""What a community asks of an agreement, as three answers: which mechanism agrees, which network counts, and who holds
contracts. And the two forms of ADMM's agreement on the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

ALONE, ADMM = "alone", "admm"
"""Mechanisms of the report: nobody agrees on anything, and consensus ADMM. All are rows of `market.registry`."""


class CountedNetwork(Enum):
    """Which network counts in the agreement; what a plan does to the feeder is worked out of every plan."""

    IGNORED = "ignored"
    FEEDER = "feeder"  # its losses, and its limits on voltages


class Contracts(Enum):
    """Who has a contract with the supplier."""

    HOUSEHOLDS = "households"
    COMMUNITY = "community"  # one for all, at node 0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What the community agrees on, and how. `T`, `G`, `TG` and `B` are the report's, its Table 3: bilateral trades;
    the grid, paid in common; both; nothing."""

    mechanism: str
    network: CountedNetwork = CountedNetwork.IGNORED
    contracts: Contracts = Contracts.HOUSEHOLDS

    B: ClassVar[Scenario]
    T: ClassVar[Scenario]
    G: ClassVar[Scenario]
    TG: ClassVar[Scenario]

    @property
    def value(self) -> str:
        """The users' name, on the command line and in files."""
        if self in _OF_THE_REPORT:
            return _OF_THE_REPORT[self]
        network = "+network" if self.has_network else ""
        return f"{self.mechanism}{network}{'' if self.has_contracts else '+community'}"

    @property
    def name(self) -> str:
        """The name in tables and sentences: `TG`, `call auction`."""
        return self.value.upper() if self in _OF_THE_REPORT else self.value.replace("-", " ")

    @property
    def has_trades(self) -> bool:
        return self.mechanism != ALONE and self.has_contracts

    @property
    def has_network(self) -> bool:
        return self.network is not CountedNetwork.IGNORED

    @property
    def has_contracts(self) -> bool:
        """Whether every household has its own contract with the supplier (in G the community has one, at node 0)."""
        return self.contracts is Contracts.HOUSEHOLDS

    def __str__(self) -> str:
        return self.value


Scenario.B = Scenario(mechanism=ALONE)
Scenario.T = Scenario(mechanism=ADMM)
Scenario.G = Scenario(mechanism=ADMM, network=CountedNetwork.FEEDER, contracts=Contracts.COMMUNITY)
Scenario.TG = Scenario(mechanism=ADMM, network=CountedNetwork.FEEDER)

_OF_THE_REPORT = {Scenario.B: "b", Scenario.G: "g", Scenario.T: "t", Scenario.TG: "tg"}

REPORT = tuple(_OF_THE_REPORT)
"""The report's scenarios, in the order of its tables."""

NEGOTIATED = {scenario.value: scenario for scenario in REPORT if scenario.mechanism == ADMM}
"""Those that nodes of their own negotiate on a chain, by their users' names."""


class NetworkAgreement(Enum):
    """How the network is agreed on in G and TG.

    `NEIGHBOURS`: the report's form. Every node solves the branch-flow equations of its own line and shares P, Q, v
    with its parent and children.
    `DSO`: a star. The grid operator's node 0 solves the network; it shares with every household only that
    household's net injections (s, q), which take the place of P and Q of a line from the household to node 0.
    """

    NEIGHBOURS = "neighbours"
    DSO = "dso"


def is_sealable(scenario: Scenario, agreement: NetworkAgreement) -> bool:
    """Whether no variable has more than two holders, so that what each submits can be sealed for the other one. Between
    neighbours all children of a node hold its voltage."""
    return not scenario.has_network or agreement is NetworkAgreement.DSO
