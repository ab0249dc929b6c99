"""Sending what a round asks for, and counting what it costs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from gridpact.chain.ledger import Account
from gridpact.errors import ChainError, ContractError

log = logging.getLogger(__name__)

MOVED_ON = frozenset(
    {"WrongIteration", "WrongHistory", "WrongPhase", "WrongRound", "AlreadySubmitted", "AlreadyDeclared", "NotInRound"}
)
"""What a contract says to a call that came too late, or twice: look again."""


ATTEMPTS = 3
"""How often it is insisted on something in an iteration."""


class Sending:
    """The transactions of one node."""

    def __init__(self, account: Account, node: int) -> None:
        self._account = account
        self._node = node
        self.gas: Counter[str] = Counter()  # by what it was used for

    def send(self, what: str, send: Callable[[], object]) -> None:
        """Sends, unless the round has moved on or has it already."""
        before = self._account.gas_used
        try:
            send()
        except ContractError as error:
            if error.name not in MOVED_ON:
                raise
            log.info("node %d: %s", self._node, error)
        finally:
            self.gas[what] += self._account.gas_used - before

    def insist(self, what: str, send: Callable[[], object]) -> None:
        """Sends what does not have to come about, once more where it is not proved: submissions of others overtake the
        evidence, which then is put together anew."""
        for _ in range(ATTEMPTS):
            try:
                self.send(what, send)
                return
            except ChainError as error:
                log.warning("node %d: %s failed: %s", self._node, what, error)
                if getattr(error, "name", "") != "NotProved":
                    return
