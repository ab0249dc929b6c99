"""`gridpact account`: what a household sees of its deposit, trades, deliveries and what is still open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gridpact.chain.encoding import encode_trades
from gridpact.chain.keys import new_key
from gridpact.chain.networks import Network
from gridpact.chain.values import Balance, Delivery, Phase, Stated, TradedStep, TradeRecord
from gridpact.cli import main
from gridpact.outcome.account import (
    HouseholdAccount,
    OpenPair,
    PairTrades,
    RoundAccount,
    account_json,
    account_table,
    read_account,
)
from unit.chain.settled import STEPS, Settled, settled

ADDRESS = "0x" + "12" * 20
NOON = 1_800_000_000  # 2027-01-15 08:00:00 UTC


def stated(node: int, partner: int, statement: bytes = b"", locked: int = 0) -> Stated:
    return Stated(2, node, partner, statement, locked, NOON if locked else 0)


@pytest.fixture
def account() -> HouseholdAccount:
    """One round agreed and delivered, with one pair open; one without agreement; one that runs."""
    record = TradeRecord(
        2, 1, 3, 450_000, (TradedStep(3, 1500, 200_000), TradedStep(4, 2000, 100_000), TradedStep(5, -500, 100_000))
    )
    open_pair = OpenPair(stated(3, 4, b"a" * 32, 250_000), stated(4, 3, b"b" * 32), False)
    energies = (1000, -3000)
    return HouseholdAccount(
        ADDRESS,
        "tEUR",
        6,
        Balance(1_234_567_890, 250_000, 0, 1),
        [
            RoundAccount(4, 3, Phase.NONE, [], [], None, 0),
            RoundAccount(3, 3, Phase.EXHAUSTED, [], [], None, 0),
            RoundAccount(
                2,
                3,
                Phase.CONVERGED,
                [PairTrades.of(record, 3)],
                [open_pair],
                Delivery(2, 3, -900_000, 100_000, energies),
                -1_350_000,
            ),
        ],
    )


TABLE = f"""\
Account {ADDRESS}

  Free        1,234.567890 tEUR  can be withdrawn
  Locked          0.250000 tEUR  by statements that are not recorded yet
  In arrears      0.000000 tEUR  owed to the supplier, paid from what comes in
  Outside         0.000001 tEUR  not deposited

Round 4, node 3: running

Round 3, node 3: ended without agreement

  Delivery    not settled
  Net       0.000000 tEUR

Round 2, node 3: agreed

  with    sold kWh  bought kWh  mean tEUR/kWh        received
  node 1     0.500       3.500         0.1375  -0.450000 tEUR

  Not recorded:
  node 4  node 4 states other numbers; 0.250000 tEUR locked: freed by the record, by a new statement, or by a release \
after 2027-01-15 08:00:00 UTC

  Delivery  -0.900000 tEUR  meter: 1.000 kWh fed in, 3.000 kWh drawn; 0.100000 tEUR of it could not be paid then
  Net       -1.350000 tEUR"""


def test_table_showsAll(account: HouseholdAccount) -> None:
    assert account_table(account, NOON) == TABLE
    assert "or by a release now" in account_table(account, NOON + 1)


def test_table_ofNobody() -> None:
    nobody = HouseholdAccount(ADDRESS, "t\x1b[2JEUR", 18, Balance(0, 0, 0, 10**18 + 1), [])
    text = account_table(nobody, NOON)
    assert "1.000000000000000001 t" in text
    assert "\x1b" not in text
    assert text.endswith("It declared in none of the rounds that were looked at.")


def test_json_isExact(account: HouseholdAccount) -> None:
    said = json.loads(json.dumps(account_json(account)))
    assert (said["free"], said["locked"], said["outside"]) == ("1234.567890", "0.250000", "0.000001")
    running, _, agreed = said["rounds"]
    assert (running["phase"], running["delivery"]) == ("none", None)
    assert agreed["trades"] == [
        {"partner": 1, "sold_wh": 500, "bought_wh": 3500, "mean_price": 0.1375, "received": "-0.450000"}
    ]
    assert agreed["not_recorded"][0]["deadline"] == NOON
    assert agreed["delivery"]["energies_wh"] == [1000, -3000]


@pytest.mark.parametrize(
    ("own", "theirs", "delivered", "reason"),
    [
        (b"", b"b", False, "node 4 has stated, this household has not"),
        (b"a", b"", False, "node 4 has not stated yet"),
        (b"a", b"b", False, "node 4 states other numbers"),
        (b"a", b"b", True, "can no longer be recorded: the delivery is settled"),
    ],
)
def test_openPair_saysWhy(own: bytes, theirs: bytes, delivered: bool, reason: str) -> None:
    assert OpenPair(stated(3, 4, own), stated(4, 3, theirs), delivered).reason == reason


def test_pairTrades_ofBothSides() -> None:
    """What one sold, the other bought; what one received, the other paid."""
    record = TradeRecord(1, 1, 2, 70, (TradedStep(0, 100, 500_000), TradedStep(1, -300, 100_000)))
    lower, higher = PairTrades.of(record, 1), PairTrades.of(record, 2)
    assert (lower.sold_wh, lower.bought_wh, lower.received) == (100, 300, 70)
    assert (higher.sold_wh, higher.bought_wh, higher.received) == (300, 100, -70)
    assert lower.mean_price_micro == higher.mean_price_micro == 200_000


# ---------------------------------------------------------------------- on a chain


@pytest.fixture(scope="module")
def world(anvil: Network) -> Iterator[Settled]:
    """Round 1: 1 and 2 have traded, 3 has stated to 1, and 1 was delivered. Round 2 runs."""
    with settled(anvil) as made:
        number = made.play()
        made.state(number, 2, {1: 200_000})
        made.state(number, 1, {2: 200_000, 3: 150_000})
        made.state(number, 3, {1: 160_000})
        made.supplier.deliver(number, 2, [-100] * STEPS, made.metering_key)
        made.community.open()
        yield made


@pytest.fixture
def files(world: Settled, tmp_path: Path) -> dict[str, Any]:
    """What the command is given: the record, the chain, and the key of node 1."""
    contracts, key = tmp_path / "contracts.json", tmp_path / "key"
    world.record.write(contracts)
    account = world.sides[1].account
    assert account is not None
    key.write_text("0x" + bytes(account._signer.key).hex() + "\n")
    return {"contracts": contracts, "key": key, "network": world.community.network.rpc_url, "folder": tmp_path}


def command(files: dict[str, Any], *who: object) -> int:
    said = ["account", "--contracts", files["contracts"], "--network", files["network"], *who]
    return main([str(word) for word in said])


def test_account_isReadFromTheChain(world: Settled) -> None:
    side, office = world.sides[1], world.community.manager
    account = read_account(office, side, world.address(1), 10)
    running, settled_ = account.rounds
    assert (running.round, running.phase, running.net) == (2, Phase.NONE, 0)
    worth = side.payment(encode_trades(world.entries(1, 2, 200_000)))
    (traded,) = settled_.trades
    assert (traded.partner, traded.received) == (2, worth)
    assert traded.mean_price_micro == 200_000
    total = sum(abs(energy) for _, energy, _ in world.entries(1, 2, 0))
    assert traded.sold_wh + traded.bought_wh == total
    assert settled_.net == worth
    assert settled_.delivery is None
    (pair,) = settled_.open_pairs
    assert (pair.own.node, pair.own.partner, pair.reason) == (1, 3, "node 3 states other numbers")
    assert account.balance == side.balance(world.address(1))
    assert account.amount(account.balance.outside) == Decimal(90)

    delivered = read_account(office, side, world.address(2), 1 + 10).rounds[1]
    assert delivered.delivery is not None
    assert delivered.delivery.energies_wh == (-100,) * STEPS
    assert delivered.net == -worth + delivered.delivery.payment
    assert [item.round for item in read_account(office, side, world.address(1), 1).rounds] == [2]


def test_command_showsTheAccount(world: Settled, files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    out = files["folder"] / "deep" / "account.json"
    out.parent.mkdir()
    assert command(files, "--key", files["key"], "--json", out) == 0
    by_key = capsys.readouterr().out
    assert f"Account {world.address(1)}" in by_key
    assert "Round 1, node 1: agreed" in by_key
    assert "node 3 states other numbers" in by_key
    said = json.loads(out.read_text())
    assert said["currency"] == "tEUR"
    assert [item["round"] for item in said["rounds"]] == [2, 1]
    assert command(files, "--address", world.address(1).lower()) == 0
    assert capsys.readouterr().out == by_key


def test_command_ofAStranger(files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(files, "--address", ADDRESS) == 0
    assert "declared in none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nobody", "one of the arguments --key/--key-file --address is required"),
        ("two", "not allowed with argument"),
        ("bad address", "is no address: give 0x and 40 hexadecimal digits"),
        ("bad key", "A private key is not valid"),
        ("no key file", "the key file"),
        ("no contracts", "There is no record of a deployment"),
        ("bad url", "needs the http:// or ws:// address"),
        ("nobody there", "does not answer"),
        ("no rounds", "needs a positive number"),
        ("bad folder", "is no folder that can be written to"),
        ("a folder", "it is a folder; name a file"),
        ("not deployed", "There is no contract at"),
    ],
)
def test_command_saysWhatIsWrong(
    world: Settled, files: dict[str, Any], capsys: pytest.CaptureFixture[str], what: str, message: str
) -> None:
    """One sentence, and exit status 2."""
    who: list[object] = ["--address", ADDRESS]
    if what == "nobody":
        who = []
    elif what == "two":
        who += ["--key", files["key"]]
    elif what == "bad address":
        who = ["--address", "0x12"]
    elif what == "bad key":
        files["key"].write_text("0x12")
        who = ["--key", files["key"]]
    elif what == "no key file":
        who = ["--key", files["folder"] / "nowhere"]
    elif what == "no contracts":
        files["contracts"] = files["folder"] / "nowhere"
    elif what == "bad url":
        files["network"] = "localhost"
    elif what == "nobody there":
        files["network"] = "http://127.0.0.1:1"
    elif what == "no rounds":
        who += ["--rounds", 0]
    elif what == "bad folder":
        who += ["--json", files["key"] / "account.json"]
    elif what == "a folder":
        who += ["--json", files["folder"]]
    elif what == "not deployed":
        values = json.loads(files["contracts"].read_text())
        files["contracts"].write_text(json.dumps(values | {"settlement": ADDRESS}))
    assert command(files, *who) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.startswith("gridpact: ")
    assert said.err.count("\n") == 1


def test_command_hidesTheKey(files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    key = new_key()
    files["key"].write_text(key[:-2])
    assert command(files, "--key", files["key"]) == 2
    assert key[2:20] not in capsys.readouterr().err
