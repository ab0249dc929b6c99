"""Consensus ADMM as a mechanism: the round in memory, with the chain's integers and the contract's test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.agreement import Agreement
    from gridpact.market.prepared import Prepared


@dataclass(frozen=True)
class ConsensusAdmm:
    """T, G and TG, in both forms of the agreement on the network."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        from gridpact.market.admm.negotiation import Negotiation  # imports CVXPY, which takes a second

        return Negotiation.of(prepared).agreement(on_iteration)
