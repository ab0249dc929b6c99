"""The wrapper of `TradeSettlement` on a chain: openings from the log, readings, deliveries, and its hints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from web3.types import TxReceipt

from gridpact.chain.encoding import decode_energies, decode_tariff, encode_energies, encode_tariff, encode_trades
from gridpact.chain.keys import new_key, signer_of
from gridpact.chain.networks import Network
from gridpact.chain.settlement import STATED_A_CALL, Settlement, sign_reading
from gridpact.chain.values import Balance, Delivery, Stated
from gridpact.errors import ChainError, ContractError, InputError
from unit.chain.settled import FEED_IN, IMPORT, STEPS, Settled, settled

TENTH = 10_000_000  # what everybody has deposited, token units


@pytest.fixture(scope="module")
def world(anvil: Network) -> Iterator[Settled]:
    with settled(anvil) as made:
        yield made


def test_tariff_isTheSameAgain() -> None:
    imported, fed_in = (1, -(2**31), 300_000), (0, 2**31 - 1, -5)
    data = encode_tariff(imported, fed_in)
    assert data[:8] == bytes([0, 0, 0, 1, 0, 0, 0, 0])
    assert decode_tariff(data) == (imported, fed_in)


def test_energies_areTheSameAgain() -> None:
    energies = (1, -1, 2**31 - 1, -(2**31))
    assert encode_energies(energies)[:8] == bytes([0, 0, 0, 1, 255, 255, 255, 255])
    assert decode_energies(encode_energies(energies)) == energies


@pytest.mark.parametrize("energy", [2**31, -(2**31) - 1, 0.5, float("nan"), "12", None])
def test_energy_thatIsNoWholeNumber_isRefusedInOneSentence(energy: Any) -> None:
    with pytest.raises(InputError, match="is no whole number of Wh between") as refused:
        encode_energies([0, energy])
    assert "\n" not in str(refused.value)


def test_reading_failsWithoutAKey() -> None:
    with pytest.raises(InputError, match="key is not valid"):
        sign_reading("0x12", 1, "0x" + "11" * 20, 1, 1, [0])


def test_reading_isSignedAsTheContractReadsIt(world: Settled) -> None:
    side, key = world.supplier, world.metering_key
    reading = side.sign_reading(key, 3, 2, [5] * STEPS)
    digest = bytes(side._read("readingDigest", 3, 2, encode_energies([5] * STEPS)))
    assert signer_of(digest, reading.r, reading.vs) == side._read("metering")


def test_trades_areStatedRecordedAndDelivered(world: Settled) -> None:
    """A round from statement to delivery, as everybody sees it."""
    number = world.play()
    seller, buyer = world.sides[1], world.sides[2]
    entries = world.entries(1, 2, 200_000)
    trades = encode_trades(entries)
    worth = seller.payment(trades)
    assert worth == int(sum(energy for _, energy, _ in entries) * 200_000 / 1000)
    assert worth != 0

    payer, receiver = (2, 1) if worth > 0 else (1, 2)
    world.state(number, payer, {3 - payer: 200_000})
    stated = world.sides[payer].stated(number, payer, 3 - payer)
    assert (stated.locked, len(stated.statement)) == (abs(worth), 32)
    assert seller.unrecorded(number, receiver) == [
        (Stated(number, receiver, payer, b"", 0, 0), world.sides[payer].stated(number, payer, receiver))
    ]
    assert seller.recorded(number) == []
    world.state(number, receiver, {payer: 200_000})
    (record,) = seller.recorded(number)
    assert (record.lower, record.higher, record.payment) == (1, 2, worth)
    assert [(t.step, t.energy_wh, t.price_micro) for t in record.trades] == entries
    assert buyer.is_recorded(number, 2, 1)
    assert seller.unrecorded(number, 1) == buyer.unrecorded(number, 2) == []
    assert seller.net_payment(number, 1) == worth == -buyer.net_payment(number, 2)

    assert seller.delivery(number, 1) is None
    planned = [0] * STEPS
    for step, energy, _ in entries:
        planned[step] = energy
    reading = [energy - 100 for energy in planned]  # 2.4 kWh less than was sold
    assert world.supplier.deliver_readings([]) == []
    world.supplier.deliver(number, 1, reading, world.metering_key)
    bill = 24 * 100 * 300_000 // 1000
    assert seller.delivery(number, 1) == Delivery(number, 1, -bill, 0, tuple(reading))
    assert seller.net_payment(number, 1) == worth - bill
    assert seller.supplier_payment(number) == bill
    assert seller.balance(world.address(1)) == Balance(TENTH + worth - bill, 0, 0, 9 * TENTH)
    assert decode_tariff(seller.tariff(number)) == (tuple(IMPORT), tuple(FEED_IN))


def test_deliver_leavesArrears(world: Settled) -> None:
    number = world.play()
    side = world.sides[3]
    side.withdraw(side.free(world.address(3)))
    world.supplier.deliver(number, 3, [-1000] * STEPS, world.metering_key)
    owed = 24 * 300_000
    assert side.arrears(world.address(3)) == owed
    assert side.delivery(number, 3) == Delivery(number, 3, -owed, owed, (-1000,) * STEPS)
    side.deposit(TENTH)
    assert side.balance(world.address(3)) == Balance(TENTH - owed, 0, 0, 9 * TENTH)


def test_state_takesBack(world: Settled) -> None:
    number = world.play()
    lower_sells = world.sides[1].payment(encode_trades(world.entries(1, 2, 100_000))) > 0
    payer, other = (2, 1) if lower_sells else (1, 2)
    world.state(number, payer, {other: 100_000})
    assert world.sides[payer].locked(world.address(payer)) > 0
    world.sides[payer].state(number, payer, {other: b""}, {})
    assert world.sides[payer].locked(world.address(payer)) == 0
    assert world.sides[payer].unrecorded(number, payer) == []


def test_refusals_haveHints(world: Settled) -> None:
    """Each error of the contract says what to do."""
    number = world.play(tariff=False)
    side, supplier, key = world.sides[1], world.supplier, world.metering_key
    right = {node: world.opening(number, node) for node in (1, 2)}
    entries = world.entries(1, 2, 1)
    wrong = encode_trades([(step, energy + 1, price) for step, energy, price in entries])
    good = encode_trades(entries)
    old = replace(right[1], before=bytes(32))
    reading = supplier.sign_reading(new_key(), number, 1, [0] * STEPS)
    tariff = encode_tariff(IMPORT, FEED_IN)
    refused = [
        (lambda: side.state(number, 1, {2: wrong}, right), "DoesNotFitBids", "follow from the last bids"),
        (lambda: side.state(number, 1, {2: good}, {1: old, 2: right[2]}), "WrongOpening", "last submission"),
        (lambda: side.state(number, 1, {2: good}, {}), "WrongOpening", "last submission"),
        (lambda: side.state(number, 1, {9: good}, right), "InvalidPartner", "until its end"),
        (lambda: side.state(number, 1, {2: good[:-1]}, right), "InvalidTrades", "9 bytes"),
        (lambda: side.state(number + 1, 1, {2: good}, right), "NotConverged", "that converged"),
        (lambda: side.release(number, 2), "NothingLocked", "nothing to release"),
        (lambda: side.withdraw(10 * TENTH), "InsufficientDeposit", "deposit more"),
        (lambda: side.publish_tariff(number + 1, tariff), "NotSupplier", "key of the supplier"),
        (lambda: supplier.publish_tariff(number, tariff), "TariffTooLate", "before the first node declares"),
        (
            lambda: supplier._send("deliver", number, 1, bytes(4 * STEPS), b"", [], reading.r, reading.vs),
            "WrongReading",
            "the metering account signed",
        ),
    ]
    for call, name, hint in refused:
        with pytest.raises(ContractError, match=hint) as caught:
            call()
        assert caught.value.name == name
    with pytest.raises(ChainError, match="published no tariff"):
        supplier.deliver(number, 1, [0] * STEPS, key)


def test_deposit_survivesALostApproval(world: Settled, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain is taken back between the approval and the deposit: it is approved once more, and deposited once."""
    side, web3 = world.sides[2], world.sides[2].web3
    approve, calls = side.token.approve, []

    def taken_back(spender: str, amount: int) -> TxReceipt:
        calls.append(amount)
        snapshot = web3.provider.make_request("evm_snapshot", [])["result"]  # type: ignore[arg-type]
        receipt = approve(spender, amount)
        if len(calls) == 1:
            web3.provider.make_request("evm_revert", [snapshot])  # type: ignore[arg-type]
        return receipt

    monkeypatch.setattr(side.token, "approve", taken_back)
    monkeypatch.setattr(side.account, "_gas", {})  # as in a new process: the deposit is estimated, and refused
    before, outside = side.free(world.address(2)), side.token.balance(world.address(2))
    side.deposit(TENTH)
    assert len(calls) == 2
    assert (side.free(world.address(2)), side.token.balance(world.address(2))) == (before + TENTH, outside - TENTH)


@pytest.mark.parametrize("partners", [0, 1, STATED_A_CALL, STATED_A_CALL + 1, 126])
def test_state_takesAsManyTransactionsAsFit(partners: int) -> None:
    """Every pair once, each with its opening, and in none more than fits; what takes nothing is sent all the same."""
    sent: list[list[Any]] = []

    class Recorded:
        def _send(self, name: str, round: int, parts: list[Any], own: object, spare: int, afresh: bool) -> int:
            sent.append(parts)
            return len(sent)

    statements = {partner: bytes([partner]) for partner in range(1, partners + 1)}
    receipt = Settlement.state(Recorded(), 7, 0, statements, {})  # type: ignore[arg-type]
    assert receipt == len(sent) == max(-(-partners // STATED_A_CALL), 1)
    assert [(partner, trades) for parts in sent for partner, trades, _ in parts] == sorted(statements.items())
    assert all(len(parts) <= STATED_A_CALL for parts in sent)
