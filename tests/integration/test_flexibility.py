"""`gridpact flexibility` on a chain: a home opts in, is called, delivers, is paid, and leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from chains import skip_without
from unit.service.helpers import HOUSEHOLD, settings_of

from gridpact.chain.account import ChainAccount
from gridpact.chain.day import DaySettlement, DayTerms
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.encoding import encode_tariff
from gridpact.chain.flexibility import CallOutcome, Flexibility, FlexibilityCall, OfferTerms
from gridpact.chain.keys import new_key
from gridpact.chain.networks import ETHER, MANAGER_KEY, open_network
from gridpact.chain.record import Record
from gridpact.chain.travel import Traveller
from gridpact.chain.values import Setting, Theta
from gridpact.cli import main
from gridpact.errors import InputError
from gridpact.manage.flexibility import comes_to, delivered_steps

THETA = Theta(4, 1000, 1000, 1000, 1000, 1000, 1000, 50)
HOUR = 3600
SETTING = Setting(4, HOUR, 500, 100, 600, 2)
UNIT = 10**6
DAY = 20261222

OPT_IN = """
[flexibility]
aggregator = "{aggregator}"
device = "battery"
up_kw = 2.0
energy_kwh = 4.0
price = 0.25
fine = 0.30
bond = 1.0
tolerance_kwh = 0.1
"""


@dataclass
class Street:
    """A day that two homes have joined and nominated; who sends what by the command line."""

    record: Record
    ledger: DaySettlement  # that only reads
    by: dict[str, ChainAccount]
    metering: str  # its key
    start: int
    traveller: Traveller
    said: Callable[..., tuple[int, str]]

    def read(self, step: int, energies: dict[int, int]) -> None:
        """What meters read in a step, which is over then, and settled."""
        self.traveller.until(self.start + (step + 1) * HOUR + 1)
        ledger = DaySettlement.of(self.record, self.ledger.web3, self.by["ann"])
        ledger.read(ledger.sign_reading(self.metering, DAY, step, energies))
        ledger.settle_step(DAY)


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Street]:
    skip_without("anvil")
    names = ("supplier", "metering", "aggregator", "ann", "bob")
    keys = {name: new_key() for name in names}
    with open_network("anvil") as network:
        web3 = network.connect()
        by = {name: ChainAccount(web3, key) for name, key in keys.items()}
        network.fund([one.address for one in by.values()], ETHER, web3)
        manager = network.manager(web3)
        roles = by["supplier"].address, by["metering"].address
        record = deploy_contracts(manager, THETA, SETTING, "local", *roles, days=True)
        record.write(tmp_path / "record.json")
        enrol_households(manager, record, {1: by["ann"].address, 2: by["bob"].address})
        mint_tokens(manager, record, [one.address for one in by.values()], 100 * UNIT)
        traveller = Traveller(web3)
        start = traveller.now() + 3 * HOUR
        tariff = encode_tariff([300_000] * 4, [80_000] * 4)
        for name in ("supplier", "ann", "bob"):
            ledger = DaySettlement.of(record, web3, by[name])
            ledger.deposit(20 * UNIT)
            if name == "supplier":
                ledger.open_day(DAY, DayTerms(start, HOUR, 900, 900), tariff, 10 * UNIT)
            else:
                ledger.join(DAY, 5 * UNIT)
                ledger.nominate(DAY, 0, [1000, 1500, 1500, 500])

        def said(who: str | None, *words: str) -> tuple[int, str]:
            where = ["--contracts", str(tmp_path / "record.json"), "--network", "local", "--rpc", str(network.rpc_url)]
            if who is not None:
                monkeypatch.setenv(MANAGER_KEY, keys[who])
                where.append("--yes")
            code = main(["flexibility", *words, *where])
            out, err = capfd.readouterr()
            return code, out + err

        yield Street(record, DaySettlement.of(record, web3), by, keys["metering"], start, traveller, said)


def test_aCall_fromOptInToPayment(street: Street, tmp_path: Path) -> None:
    """By hand: ann plans to draw 1.5 kWh in steps 1 and 2, and is called for 1 less in each. She draws 0.5 and 0.8: 1.7
    kWh at 0.25, less a fine of 0.30 on 0.2 kWh that are missing beyond the tolerance."""
    said, aggregator = street.said, street.by["aggregator"].address
    config = tmp_path / "household.toml"
    settings_of(tmp_path, HOUSEHOLD + OPT_IN.format(aggregator=aggregator))
    span = ["--from", _iso(street.start), "--until", _iso(street.start + 4 * HOUR)]
    opt_in = ("opt-in", "--config", str(config), *span)
    assert "deposit 1 more" in said("ann", *opt_in)[1]
    assert said("ann", "deposit", "2")[0] == 0
    assert said("aggregator", "deposit", "3")[0] == 0
    code, told = said("ann", *opt_in)
    assert (code, "offer 1 stands: battery for" in told) == (0, True)
    assert "DeviceOffered" in said("ann", *opt_in)[1]

    call = ("call", "--offer", "1", "--day", "2026-12-22", "--step", "1")
    assert "BeyondPower" in said("aggregator", *call, "--kwh", "2.1")[1]
    assert "NotAggregator" in said("bob", *call, "--kwh", "1,1")[1]
    code, told = said("aggregator", *call, "--kwh", "1,1")
    assert code == 0
    assert "node 1 is to feed in -0.5, -0.5 kWh from step 1 of day 20261222 on; 0.5 tEUR are locked for it" in told
    again = "Node 1 is called in step 1 of day 20261222 already, and its one meter tells of one call"
    assert again in said("aggregator", *call, "--kwh", "1")[1]
    assert "and withdrawing that needs 3" in said("aggregator", "withdraw", "3")[1]
    code, told = said("ann", "revoke", "1")
    assert (code, "is free once 1 calls are settled" in told) == (0, True)
    assert "OfferOver" in said("aggregator", *call[:-1], "3", "--kwh", "0.1")[1]

    for step, drawn in enumerate((1000, 500, 800)):
        street.read(step, {1: -drawn, 2: -1500})
        if step == 1:
            assert "are not settled yet" in said("bob", "settle", "1")[1]
            assert (
                "1 kWh delivered, 0 otherwise than called, 1 of 2 steps kept, as far as"
                in said(None, "deliver", "1")[1]
            )
    payment = 1.7 * 0.25 - 0.2 * 0.30
    assert f"call 1 pays {payment:g} tEUR to node 1" in said("bob", "settle")[1]
    assert "is settled" in said("bob", "settle", "1")[1]
    found = json.loads(said(None, "deliver", "1", "--json")[1])
    assert [one["read_wh"] for one in found["steps"]] == [-500, -800]
    assert found["payment"] == pytest.approx(payment)

    flexibility = Flexibility.of(street.record, street.ledger.web3)
    assert flexibility.free(street.by["ann"].address) == round((2 + payment) * UNIT)
    assert flexibility.free(aggregator) == round((3 - payment) * UNIT)
    assert flexibility.total_deposits() == 5 * UNIT == flexibility.token.balance(flexibility.address)
    offers, calls = flexibility.history()  # of the log, as the contract has them
    assert offers == [flexibility.offer(number) for number in range(1, flexibility.last_offer() + 1)]
    assert [call for call, _ in calls] == flexibility.calls()
    assert [outcome for _, outcome in calls] == [flexibility.outcome(call.number) for call, _ in calls]
    status = json.loads(said(None, "status", "--json", "--day", "2026-12-22")[1])
    assert [one["ended"] for one in status["offers"]] == [True]
    assert [one["delivered_kwh"] for one in status["calls"]] == [1.7]
    assert "offer 1 of" in said(None, "status")[1]


def test_whatCannotBe_isSaidInOneSentence(street: Street, tmp_path: Path) -> None:
    config = tmp_path / "household.toml"
    aggregator = street.by["aggregator"].address
    settings_of(tmp_path, HOUSEHOLD + OPT_IN.format(aggregator=aggregator))
    span = ("--from", _iso(street.start), "--until", _iso(street.start + HOUR))
    own = ("opt-in", "--config", str(config), *span)
    offer = ("opt-in", *span, "--aggregator", aggregator, "--device", "car")
    for words, told in (
        ((*own, "--up", "3"), "--up 3 is above up_kw in [flexibility] of household.toml, 2"),
        ((*own, "--price", "0.2"), "--price 0.2 is below price in [flexibility]"),
        ((*own, "--device", "car"), "--device car is not that of [flexibility]"),
        ((*own, "--tolerance", "nan"), "--tolerance nan must be a number"),
        ((*own, "--energy", "-1"), "--energy -1 must be a number"),
        (offer, "--energy is missing"),
        ((*offer, "--energy", "1", "--price", "1"), "nothing is offered"),
        ((*offer, "--energy", "1", "--price", "5000", "--up", "1"), "more than the contract can hold"),
        ((*offer, "--energy", "1", "--price", "1", "--up", "1", "--device", "c" * 17), "1 to 16 bytes"),
        ((*offer[:-3], "0x12", "--device", "car", "--energy", "1", "--price", "1", "--up", "1"), "is no address"),
        (("opt-in", "--from", "noon", *span[2:], *own[1:3]), "--from 'noon' is no time"),
        (("opt-in", *span[2:], "--from", span[3], *own[1:3]), "--until is not after --from"),
        (("revoke", "7"), "There is no offer 7"),
        (("settle", "7"), "There is no call 7"),
        (("deliver", "7"), "There is no call 7"),
        (("call", "--offer", "7", "--day", "2026-12-22", "--step", "0", "--kwh", "1"), "There is no offer 7"),
        (("call", "--offer", "7", "--day", "2026-12-22", "--step", "0", "--kwh", "much"), "'much' is no number of kWh"),
        (("call", "--offer", "7", "--day", "2026-12-22", "--step", "0", "--kwh", "inf"), "more than a call can be for"),
        (("withdraw", "5"), "withdrawing that needs 5"),
        (("deposit", "500"), "less than 500"),
    ):
        code, said = street.said(None if words[0] == "deliver" else "ann", *words)
        assert (code, said.count("\n")) == (2, 1), (words, said)
        assert told in said, words


def test_whatAnybodyOffers_isShownInOneLine(street: Street) -> None:
    """A name may be any 16 bytes, and a span end in any second that fits: neither writes to the terminal otherwise."""
    flexibility = Flexibility.of(street.record, street.ledger.web3, street.by["bob"])
    address = street.by["aggregator"].address
    for device in ("\x1b]0;mine\x07", "a\nb\rc", "\u202eb\u009b2J", "caf\u00e9"):
        terms = OfferTerms(address, 2**96 - 1, device, 0, 0, 2**40 - 1, *[2**32 - 1] * 7)
        flexibility.opt_in(terms)
    offers = flexibility.history()[0]
    assert offers == [flexibility.offer(number) for number in range(1, flexibility.last_offer() + 1)]
    code, said = street.said(None, "status")
    assert (code, len(said.splitlines()), said.count("\n")) == (0, 4, 4)
    assert said.replace("\n", "").isprintable()
    assert "caf\u00e9 for" in said
    assert json.loads(street.said(None, "status", "--json")[1])["offers"][3]["terms"]["until"] == 2**40 - 1


def test_withoutTheContract_itIsSaid(street: Street) -> None:
    with pytest.raises(InputError, match="deploy with --days"):
        Flexibility.of(replace(street.record, flexibility=""), street.ledger.web3)


def test_comesTo_isWhatTheContractPays() -> None:
    """By hand: 0.3 kWh too little and not read; with a token of two decimals what is begun is paid whole."""
    terms = OfferTerms("0x", 2, "car", 5, 0, 1, 2000, 2000, 4000, 333_333, 100_000, 50, 0)
    call = FlexibilityCall(1, 1, DAY, 3, 1, (1000, -500, 0), (-200, 0, 100), 9, False)
    steps = delivered_steps(call, {(1, 3): 500, (2, 3): -500, (3, 2): 7})
    assert [one.moved_wh for one in steps] == [700, -500, None]
    assert comes_to(steps, terms, 100) == CallOutcome(38 + 2, 1200, 250, 1)  # 39.99 - 2.5 = 37.5 cents
    none = delivered_steps(call, {(1, 3): -9000})
    assert comes_to(none, terms, 100).payment == -5


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat()
