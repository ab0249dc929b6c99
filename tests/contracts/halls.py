"""Contracts at which neighbours agree on one price, with people who are enrolled and have deposits there."""

from dataclasses import dataclass
from typing import Any

from link import Link, rpc


@dataclass
class Hall:
    """A contract and its people, who are its nodes in their order; the number of the round that they are in."""

    contract: Link
    token: Link
    manager: Any
    people: list[Any]
    steps: int
    round: int = 0

    def enter(self, deposit):
        """Everybody is enrolled, and has deposited half of what it has."""
        self.contract.send(self.manager, "enrol", list(range(len(self.people))), [str(who) for who in self.people])
        for who in self.people:
            self.token.send(self.manager, "mint", str(who), 2 * deposit)
            self.token.send(who, "approve", self.contract.address, 2 * deposit)
            self.contract.send(who, "deposit", deposit)

    def close_overdue(self, phase_s):
        """After the time of a phase."""
        rpc("evm_setNextBlockTimestamp", self.contract.timestamp() + phase_s + 1)
        rpc("evm_mine")
        return self.contract.send(self.manager, "closeOverdue")

    def deposits(self):
        """Free and locked, by node; together they are what the contract says, and has."""
        free, locked = ([self.contract.view(name, str(who)) for who in self.people] for name in ("free", "locked"))
        assert sum(free) + sum(locked) == self.contract.view("totalDeposits")
        assert self.token.view("balanceOf", self.contract.address) == self.contract.view("totalDeposits")
        return free, locked
