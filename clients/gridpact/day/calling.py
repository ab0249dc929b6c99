"""An aggregator on a day: what households offer it, when it calls them, and what that comes to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gridpact.chain.account import ChainAccount
from gridpact.chain.day import DaySettlement
from gridpact.chain.deploy import mint_tokens
from gridpact.chain.flexibility import CallOutcome, Flexibility, FlexibilityCall, OfferTerms
from gridpact.chain.keys import new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.record import Record
from gridpact.community.model import CommunityDay
from gridpact.errors import ContractError
from gridpact.manage.flexibility import DeliveredStep, delivered_steps

LEAST_FINED_WH = 1000
"""Of a step, that the bond covers twice at least: who is called for its baseline can be fined, too."""


@dataclass(frozen=True)
class DayCall:
    """What a household is called for, at steps that follow each other."""

    node: int
    first: int  # step
    energies_wh: tuple[int, ...]  # otherwise than its baseline: above 0 more fed in or less drawn

    @property
    def end(self) -> int:
        """The step after its last."""
        return self.first + len(self.energies_wh)


@dataclass(frozen=True)
class PlayedCall:
    """What a call came to."""

    call: FlexibilityCall
    outcome: CallOutcome
    device: str
    steps: tuple[DeliveredStep, ...]


def offers_of(
    community: CommunityDay,
    calls: Iterable[DayCall],
    ledger: DaySettlement,
    day: int,
    aggregator: str,
    price: float,
    units: int,
) -> dict[int, OfferTerms]:
    """What each household that is going to be called opts in to, by node: with its first device that can move energy
    from one step to another, or else with its meter, and for just what it will be called for.

    Args:
        price: of what is delivered, and the fine of what is delivered otherwise beyond the tolerance, currency/kWh.
        units: of the token in a unit of currency.
    """
    by_node: dict[int, list[DayCall]] = {}
    for call in calls:
        by_node.setdefault(call.node, []).append(call)
    terms, offers = ledger.terms(day), {}
    micro = round(price * 10**6)
    for home in community.households:
        if not (own := by_node.get(home.node)):
            continue
        energies = [energy for call in own for energy in call.energies_wh]
        up, down = (
            max(-(-energy * 3600 // terms.step_seconds) for energy in (0, *side))
            for side in (energies, [-energy for energy in energies])
        )
        covered = sum(2 * max(abs(energy), LEAST_FINED_WH) for energy in energies)
        offers[home.node] = OfferTerms(
            aggregator=aggregator,
            fee=0,
            device=next((device.kind for device in home.devices if device.couples_steps), "meter"),
            bond=covered * micro * units // 10**9 + 1,
            begins=ledger.start_of(day, min(call.first for call in own)),
            until=ledger.start_of(day, max(call.end for call in own)),
            up_w=max(up, int(not down)),
            down_w=down,
            energy_wh=max(sum(map(abs, energies)), 1),
            price=micro,
            fine=micro,
            tolerance_wh=terms.tolerance_wh,
            notice_seconds=0,
        )
    return offers


class StagedAggregator:
    """The aggregator's side of a day on a test chain.

    It deposits the most that all calls can cost.

    Args:
        manager: who mints test tokens.
        accounts: of the households, by node.
        price, units: see `offers_of`.
    """

    def __init__(
        self,
        network: Network,
        record: Record,
        manager: ChainAccount,
        accounts: Mapping[int, str],
        calls: Sequence[DayCall],
        price: float,
        units: int,
    ) -> None:
        account = ChainAccount(network.connect(), new_key())
        network.fund([account.address], ETHER, account.web3)
        self.address = account.address
        self._accounts, self._calls = accounts, calls
        self._contract = Flexibility.of(record, account.web3, account)
        asked = sum(abs(energy) for call in calls for energy in call.energies_wh)
        amount = -(-asked * round(price * 10**6) * units // 10**9) + len(calls)
        mint_tokens(manager, record, [account.address], amount)
        self._contract.deposit(amount)

    def call(self, day: int, step: int, members: Collection[int]) -> tuple[list[int], list[str]]:
        """Calls those that are to be called from a step on, before its gate.

        Returns:
            Who was called; and why others were not.
        """
        flexibility, called, refused = self._contract, [], []
        due = [call for call in self._calls if call.first == step]
        offers = {offer.member: offer.number for offer in flexibility.history()[0]} if due else {}
        for call in due:
            node = call.node
            if node not in members:
                refused.append(f"node {node} is not heard, so it is not called")
                continue
            try:
                number = offers[self._accounts[node]]
                baselines = flexibility.baselines(day, node, call.first, len(call.energies_wh))
                flexibility.call_for(number, day, call.first, call.energies_wh, baselines)
            except KeyError:
                refused.append(f"node {node} has not opted in, so it is not called")
            except ContractError as error:
                refused.append(f"node {node} cannot be called: {error}")
            else:
                called.append(node)
        return called, refused

    def close(self) -> None:
        """Settles all calls and ends all offers, as anybody might."""
        flexibility = self._contract
        offers, calls = flexibility.history()
        for call, outcome in calls:
            if outcome is None:
                flexibility.settle(call.number)
        for offer in offers:
            if not offer.ended:
                flexibility.end_offer(offer.number)

    def played(self, day: int) -> tuple[PlayedCall, ...]:
        """What all settled calls came to."""
        flexibility = self._contract
        offers, calls = flexibility.history()
        device = {offer.number: offer.terms.device for offer in offers}
        readings = flexibility.ledger.readings(day)
        return tuple(
            PlayedCall(call, outcome, device[call.offer], tuple(delivered_steps(call, readings)))
            for call, outcome in calls
            if outcome is not None
        )

    def is_even(self) -> bool:
        """Whether the contract has just what households and aggregator have free in it: nothing is locked any more."""
        flexibility, parties = self._contract, [*self._accounts.values(), self.address]
        free = sum(flexibility.free(account) for account in parties)
        return free == flexibility.total_deposits() == flexibility.token.balance(flexibility.address)
