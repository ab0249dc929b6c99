"""The four scenarios of the report (its Table 3) and the two forms of the agreement on the network."""

from __future__ import annotations

from enum import Enum


class Scenario(Enum):
    """What the community agrees on. `T`: bilateral trades; `G`: the grid, paid in common; `TG`: both; `B`: nothing."""

    B = "b"
    T = "t"
    G = "g"
    TG = "tg"

    @property
    def has_trades(self) -> bool:
        return self in (Scenario.T, Scenario.TG)

    @property
    def has_network(self) -> bool:
        return self in (Scenario.G, Scenario.TG)

    @property
    def has_contracts(self) -> bool:
        """Whether every household has its own contract with the supplier (in G the community has one, at node 0)."""
        return self is not Scenario.G


class NetworkAgreement(Enum):
    """How the network is agreed on in G and TG.

    `NEIGHBOURS`: the report's form. Every node solves the branch-flow equations of its own line and shares P, Q, v
    with its parent and children.
    `DSO`: a star. The grid operator's node 0 solves the network; it shares with every household only that
    household's net injections (s, q), which take the place of P and Q of a line from the household to node 0.
    """

    NEIGHBOURS = "neighbours"
    DSO = "dso"
