"""The contract `Flexibility`, typed: offers of members, calls of aggregators, what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from web3 import Web3
from web3.types import TxReceipt

from gridpact.chain.account import ChainAccount, ContractCall
from gridpact.chain.artifacts import FLEXIBILITY, load
from gridpact.chain.contract import arguments_of, checked_address
from gridpact.chain.day import DaySettlement
from gridpact.chain.deposits import Deposits
from gridpact.chain.encoding import decode_energies, encode_energies
from gridpact.chain.record import Record
from gridpact.errors import InputError
from gridpact.text import plain

HISTORY = ("OptedIn", "OfferEnded", "BondFreed", "Called", "CallSettled")
"""Events that change offers and calls."""

DEVICE_BYTES = 16
"""Of a device's name on the chain."""


@dataclass(frozen=True)
class OfferTerms:
    """What a member opts in to; the order is the contract's."""

    aggregator: str
    fee: int  # a step that is kept, token units
    device: str
    bond: int  # what the member can be fined, token units
    begins: int  # unix time, of steps that it can be called for
    until: int
    up_w: int
    down_w: int
    energy_wh: int  # in a day, up and down together
    price: int  # of what is delivered, 1e-6 currency/kWh
    fine: int  # of what is delivered otherwise than called
    tolerance_wh: int  # in a step
    notice_seconds: int  # that a call comes before the gate of its first step

    def encoded(self) -> tuple[Any, ...]:
        """As the contract takes them.

        Raises:
            InputError: the aggregator has no address, or the device no name that fits.
        """
        aggregator, fee, _, *others = astuple(self)
        return (checked_address(aggregator), fee, device_word(self.device), *others)


@dataclass(frozen=True)
class MemberOffer:
    number: int
    terms: OfferTerms  # with what is left of the bond
    member: str
    open: int  # calls that are not settled
    ended: bool


@dataclass(frozen=True)
class FlexibilityCall:
    number: int
    offer: int
    day: int
    node: int
    first: int  # step
    energies_wh: tuple[int, ...]  # what the meter is to read otherwise than the baseline: fed in more, drawn less
    baselines_wh: tuple[int, ...]  # fed in
    reserve: int  # token units
    settled: bool


@dataclass(frozen=True)
class CallOutcome:
    """What a call came to."""

    payment: int  # token units, from the aggregator to the member
    delivered_wh: int
    otherwise_wh: int  # that are fined
    kept: int  # steps


def device_word(name: str) -> bytes:
    """A device's name on the chain.

    Raises:
        InputError: it has none, or one that does not fit.
    """
    word = name.encode()
    if not 0 < len(word) <= DEVICE_BYTES:
        raise InputError(f"the device '{name}' must have a name of 1 to {DEVICE_BYTES} bytes; give a shorter one")
    return word.ljust(DEVICE_BYTES, b"\0")


def _calling(
    offer: int, day: int, first: int, energies_wh: Sequence[int], baselines_wh: Sequence[int]
) -> tuple[Any, ...]:
    """The arguments of a call."""
    return offer, day, first, encode_energies(energies_wh), encode_energies(baselines_wh)


def _terms_of(values: Sequence[Any]) -> OfferTerms:
    """In the order of the contract's."""
    aggregator, fee, device, *others = values
    name = plain(bytes(device).rstrip(b"\0").decode(errors="replace"))
    return OfferTerms(checked_address(str(aggregator)), int(fee), name, *map(int, others))


def _call_of(said: Mapping[str, Any], settled: bool) -> FlexibilityCall:
    """Of the event `Called`."""
    return FlexibilityCall(
        number=int(said["id"]),
        offer=int(said["offer"]),
        day=int(said["day"]),
        node=int(said["node"]),
        first=int(said["first"]),
        energies_wh=decode_energies(bytes(said["energies"])),
        baselines_wh=decode_energies(bytes(said["baselines"])),
        reserve=int(said["reserve"]),
        settled=settled,
    )


def _outcome_of(said: Mapping[str, Any]) -> CallOutcome:
    """Of the event `CallSettled`."""
    return CallOutcome(*(int(said[name]) for name in ("payment", "delivered", "otherwise", "kept")))


class Flexibility(Deposits):
    """The contract at an address. `account` is needed to send."""

    ledger: DaySettlement

    @classmethod
    def of(cls, record: Record, web3: Web3, account: ChainAccount | None = None) -> Flexibility:
        """That of a deployment.

        Raises:
            InputError: the deployment has none.
        """
        if not record.flexibility:
            raise InputError("On this deployment no aggregator can call: deploy with --days.")
        made = cls.at(record.flexibility, load(FLEXIBILITY).abi, record, web3, account)
        made.ledger = DaySettlement.of(record, web3, account)
        return made

    # ------------------------------------------------------------------ offers and calls

    def opt_in(self, terms: OfferTerms) -> int:
        """Returns the offer's number."""
        return self._numbered("OptedIn", self._send("optIn", terms.encoded()))

    def end_offer(self, number: int) -> TxReceipt:
        return self._send("endOffer", number)

    def call_for(
        self, offer: int, day: int, first: int, energies_wh: Sequence[int], baselines_wh: Sequence[int]
    ) -> int:
        """Returns the call's number."""
        return self._numbered("Called", self._send("call", *_calling(offer, day, first, energies_wh, baselines_wh)))

    def planned(
        self, offer: int, day: int, first: int, energies_wh: Sequence[int], baselines_wh: Sequence[int]
    ) -> ContractCall:
        """The same, to be estimated."""
        return self.call("call", *_calling(offer, day, first, energies_wh, baselines_wh))

    def settle(self, number: int) -> TxReceipt:
        return self._send("settle", number)

    def _numbered(self, event: str, receipt: TxReceipt) -> int:
        return int(self._said_in(receipt, event)["id"])

    # ------------------------------------------------------------------ views

    def last_offer(self) -> int:
        """Offers are numbered from 1 on."""
        return int(self._read("lastOffer"))

    def last_call(self) -> int:
        return int(self._read("lastCall"))

    def offered(self, member: str, device: str) -> int:
        """The last offer that a device is in; 0 where it is in none."""
        return int(self._read("offered", checked_address(member), device_word(device)))

    def offer(self, number: int) -> MemberOffer:
        """
        Raises:
            InputError: there is none of this number.
        """
        values, member, open_, ended = self._read("offer", number)
        if not int(str(member), 16):
            raise InputError(f"There is no offer {number}: `gridpact flexibility status` lists them.")
        return MemberOffer(number, _terms_of(values), checked_address(str(member)), int(open_), bool(ended))

    def history(self) -> tuple[list[MemberOffer], list[tuple[FlexibilityCall, CallOutcome | None]]]:
        """All offers, with what is left of them, and all calls with what they came to: one look into the log, however
        many there are."""
        offers: dict[int, MemberOffer] = {}
        calls: dict[int, tuple[FlexibilityCall, CallOutcome | None]] = {}
        for event in self._log(HISTORY):
            said, kind = arguments_of(event), event["event"]
            number = int(said["id"])
            if kind == "OptedIn":
                terms = said["terms"]
                values = list(terms.values()) if isinstance(terms, Mapping) else terms
                offers[number] = MemberOffer(number, _terms_of(values), checked_address(str(said["member"])), 0, False)
            elif kind == "OfferEnded":
                offers[number] = replace(offers[number], ended=True)
            elif kind == "BondFreed":
                offers[number] = replace(offers[number], terms=replace(offers[number].terms, bond=0))
            elif kind == "Called":
                calls[number] = _call_of(said, settled=False), None
                offer = offers[int(said["offer"])]
                offers[offer.number] = replace(offer, open=offer.open + 1)
            else:
                call, outcome = calls[number][0], _outcome_of(said)
                calls[number] = replace(call, settled=True), outcome
                offer = offers[call.offer]
                left = replace(offer.terms, bond=offer.terms.bond + min(outcome.payment, 0))
                offers[offer.number] = replace(offer, open=offer.open - 1, terms=left)
        return list(offers.values()), list(calls.values())

    def calls(self, number: int | None = None) -> list[FlexibilityCall]:
        """All, or the one of a number."""
        events = self._log(["Called"], number)
        return [self._called(arguments_of(event)) for event in events]

    def calls_of_day(self, day: int) -> list[FlexibilityCall]:
        """Those for steps of a day."""
        return [self._called(arguments_of(one)) for one in self._log(["Called"], None, None, day)]

    def _called(self, said: Mapping[str, Any]) -> FlexibilityCall:
        *_, settled, _ = self._read("callOf", int(said["id"]))
        return _call_of(said, bool(settled))

    def call_of(self, number: int) -> FlexibilityCall:
        """
        Raises:
            InputError: there is none of this number.
        """
        found = self.calls(number)
        if not found:
            raise InputError(f"There is no call {number}: `gridpact flexibility status` lists them.")
        return found[0]

    def outcome(self, number: int) -> CallOutcome | None:
        """What a call came to; None until it is settled."""
        said = self._events("CallSettled", id=number)
        if not said:
            return None
        return _outcome_of(arguments_of(said[0]))

    def called_steps(self, day: int, node: int) -> frozenset[int]:
        """Steps of a day that a node is called in."""
        bitmap = int(self._read("called", day, node))
        return frozenset(step for step in range(bitmap.bit_length()) if bitmap >> step & 1)

    def baselines(self, day: int, node: int, first: int, count: int) -> list[int]:
        """What a meter will read by what the member has told so far, Wh fed in."""
        return [int(self._read("baselineOf", day, node, step)) for step in range(first, first + count)]
