"""What the metering operator vouches for is what the nodes themselves agreed on, worked out from public data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace
from datetime import datetime
from pathlib import Path

import pytest

from gridpact.chain.encoding import encode_tariff, encode_trades
from gridpact.chain.keys import new_key
from gridpact.chain.keystore import create_keystore
from gridpact.chain.networks import Network
from gridpact.chain.values import Phase
from gridpact.cli import main
from gridpact.community.model import CommunityDay
from gridpact.errors import ChainError, InputError
from gridpact.manage.vouching import (
    Shown,
    agreed_trades,
    check_recorded,
    last_submissions,
    one_sided,
    shown,
    to_vouch,
)
from gridpact.market.admm.parameters import Tolerances
from gridpact.node.twin_ledger import TwinLedger
from gridpact.problem.scenario import NetworkAgreement, Scenario
from unit.chain.settled import FEED_IN, IMPORT, Settled, settled
from unit.node.rounds import PHASE_SECONDS, Played

COARSE = Tolerances(10.0, 10.0, 10.0, 10.0)
FORMS = [
    (Scenario.T, NetworkAgreement.DSO),
    (Scenario.TG, NetworkAgreement.DSO),
    (Scenario.TG, NetworkAgreement.NEIGHBOURS),
]


def tariff_of(day: CommunityDay) -> tuple[list[int], list[int]]:
    imported = [round(1e6 * price) for price in day.prices.import_price]
    return imported, [round(1e6 * price) for price in day.prices.feed_in_price]


def silent_from_third(played: Played, iteration: int) -> None:
    if iteration == 3:
        played.turns.sleep(10 * PHASE_SECONDS)


def oversleeps(played: Played, iteration: int) -> None:
    if iteration == 2:
        played.turns.sleep(1.5 * PHASE_SECONDS)


@pytest.mark.parametrize(("scenario", "agreement"), FORMS)
@pytest.mark.parametrize("trouble", [None, silent_from_third, oversleeps], ids=["none", "one is out", "one misses"])
def test_agreedTrades_areWhatBothSidesState(
    tiny3: CommunityDay, scenario: Scenario, agreement: NetworkAgreement, trouble: object
) -> None:
    """To the watt-hour, and to the last unit of the price where that lies within the tariff: also after a node went
    out, with which all began anew, and after one that missed an iteration."""
    played = Played(tiny3, scenario, agreement, tolerances=COARSE)
    reports = played.play({} if trouble is None else {3: trouble})  # type: ignore[dict-item]
    assert played.outcome.phase is Phase.CONVERGED
    imported, fed_in = tariff_of(tiny3)
    log = TwinLedger(played.twin, 1)
    found = agreed_trades(log, played.number, dict.fromkeys(range(1, 4), encode_tariff(imported, fed_in)))
    stated = {
        (node, partner): entries
        for node, report in reports.items()
        if report.agreed
        for partner, entries in report.statements.items()
        if node < partner
    }
    assert stated
    assert found.keys() == stated.keys()
    for pair, entries in stated.items():
        within = [(step, wh, min(max(price, fed_in[step]), imported[step])) for step, wh, price in entries]
        for (step, wh, price), (own_step, own_wh, own_price) in zip(found[pair], within, strict=True):
            assert (step, wh) == (own_step, own_wh)
            assert abs(price - own_price) <= 1  # the tariff has six digits, the household's prices more


def test_lastSubmissions_areWhatTheContractHolds(tiny3: CommunityDay) -> None:
    """Each follows the commitment before it, by the chain of all a node's submissions."""
    played = Played(tiny3, Scenario.TG, tolerances=COARSE)
    played.play({1: oversleeps})
    history = TwinLedger(played.twin, 1).history(played.number)
    for node, (last, before) in last_submissions(history).items():
        own = [entry.submissions[node] for entry in history if node in entry.submissions]
        assert last == own[-1]
        assert before == own[-2].commitment


@pytest.fixture(scope="module")
def world(anvil: Network) -> Iterator[Settled]:
    with settled(anvil) as made:
        yield made


def test_vouching_recordsWhatOneSideStates_andDeliveriesWaitForIt(
    world: Settled,
    anvil: Network,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the command line: node 1 states, 2 says nothing and 3 something else; nobody settles a reading meanwhile."""
    number, office = world.play(), world.community.manager
    agreed = agreed_trades(office, number, dict.fromkeys(range(1, 4), encode_tariff(IMPORT, FEED_IN)))
    energies = {pair: [(step, wh) for step, wh, _ in entries] for pair, entries in agreed.items()}
    assert energies == {pair: [(step, wh) for step, wh, _ in world.entries(*pair, 0)] for pair in energies}
    world.state(number, 1, {2: 200_000, 3: 200_000})
    world.state(number, 3, {1: 210_000})
    side = world.supplier
    assert one_sided(side, number) == {(1, 2): frozenset({1}), (1, 3): frozenset({1, 3})}
    day = datetime.strptime(str(office.days()[number]), "%Y%m%d").date()
    with pytest.raises(InputError, match=r"trades of nodes 1 and 2 and 1 other pair are stated by one side.*--accept"):
        check_recorded(side, number, day)

    with monkeypatch.context() as sealing:
        sealing.setattr(type(office), "sealed", True)
        with pytest.raises(ChainError, match=r"is sealed.*ask node 1 for what it had in common with node 2"):
            to_vouch(office, side, number)

    world.record.write(tmp_path / "contracts.json")
    (tmp_path / "password").write_text("secret")
    metering = create_keystore(tmp_path / "metering.json", world.metering_key, "secret", 2**10)
    anvil.fund([metering], 10**18)
    stranger = create_keystore(tmp_path / "stranger.json", new_key(), "secret", 2**10)
    anvil.fund([stranger], 10**18)

    def vouch(who: str, *more: str) -> int:
        place = [
            "--contracts",
            str(tmp_path / "contracts.json"),
            "--rpc",
            str(anvil.rpc_url),
            "--confirmations",
            "1",
            "--yes",
        ]
        keys = ["--keystore", str(tmp_path / f"{who}.json"), "--password-file", str(tmp_path / "password")]
        command = ["readings", "vouch", "--day", str(day), "--round", str(number), "--network", "local"]
        return main([*command, *place, *keys, *more])

    assert vouch("stranger") == 2
    assert f"The metering account is {metering}, the key given is of {stranger}" in capsys.readouterr().err
    assert vouch("metering", "--dry-run") == 0
    assert "nothing was sent" in capsys.readouterr().out
    assert side.recorded(number) == []
    assert vouch("metering") == 0
    told = capsys.readouterr().out
    assert "node 1 states trades, node 2 nothing" in told
    assert "node 1 states trades, node 3 otherwise" in told
    assert "the trades of 2 pairs in round" in told
    recorded = {(one.lower, one.higher): encode_trades([*map(astuple, one.trades)]) for one in side.recorded(number)}
    assert recorded == {pair: encode_trades(agreed[pair]) for pair in ((1, 2), (1, 3))}
    check_recorded(side, number, day)
    assert vouch("metering") == 0
    assert "all trades of" in capsys.readouterr().out


@pytest.mark.parametrize("trouble", [None, silent_from_third, oversleeps], ids=["none", "one is out", "one misses"])
@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG])
def test_sealedTrades_areWorkedOutFromWhatOneOfTheTwoShows(
    tiny3: CommunityDay, tmp_path: Path, scenario: Scenario, trouble: object
) -> None:
    """The same as both of them state, whichever shows it; and of no other pair."""
    played = Played(tiny3, scenario, tolerances=COARSE, sealed=True)
    reports = played.play({} if trouble is None else {3: trouble})  # type: ignore[dict-item]
    assert played.outcome.phase is Phase.CONVERGED
    log, tariff = TwinLedger(played.twin, 0 if scenario.has_network else 1), encode_tariff(*tariff_of(tiny3))
    for node, report in reports.items():
        for partner in report.statements if report.agreed else ():
            shown(TwinLedger(played.twin, node), played.number, node, partner).write(path := tmp_path / "shown.json")
            assert path.stat().st_mode & 0o777 == 0o600
            one = Shown.read(path)
            assert one.pair == (min(node, partner), max(node, partner))
            found = agreed_trades(log, played.number, dict.fromkeys(range(1, 4), tariff), {one.pair: one.pads(log)})
            assert found.keys() == {one.pair}
            entries = report.statements[partner]
            assert [entry[:2] for entry in found[one.pair]] == [tuple(entry[:2]) for entry in entries]
            imported, fed_in = tariff_of(tiny3)
            for (step, _, price), (_, _, own) in zip(found[one.pair], entries, strict=True):
                assert abs(price - min(max(own, fed_in[step]), imported[step])) <= 1


def test_whatIsShown_isBelievedByItsProofOnly(tiny3: CommunityDay) -> None:
    """A changed number, another pair's proof, another round's contracts: none opens anything."""
    played = Played(tiny3, Scenario.T, tolerances=COARSE, sealed=True)
    played.play()
    log = TwinLedger(played.twin, 1)
    true = shown(log, played.number, 1, 2)
    x, y, challenge, response = true.proof
    others = shown(TwinLedger(played.twin, 3), played.number, 3, 2).proof
    changed = (x, y, challenge, response + 1), (x, y, challenge + 1, response), (x, y + 1, challenge, response)
    for false in (*changed, others):
        with pytest.raises(InputError, match="is not what the two nodes had in common"):
            replace(true, proof=false).pads(log)
    with pytest.raises(InputError, match="is of the contracts at 0x12"):
        replace(true, aggregator="0x12").pads(log)
    with pytest.raises(InputError, match="nodes 1 and 9 were not both in round 1"):
        replace(true, partner=9).pads(log)
    with pytest.raises(InputError, match="nodes 1 and 1 were not both in round 1"):
        shown(log, played.number, 1, 1)
    in_the_open = Played(tiny3, Scenario.T, tolerances=COARSE)
    in_the_open.play()
    with pytest.raises(InputError, match="is open: metering reads what was bid"):
        shown(TwinLedger(in_the_open.twin, 1), 1, 1, 2)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"proof": [1, 2, 3, 4]}', '{"proof": ["0x1"]}'])
def test_fileThatShowsNothing_isSaid(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "shown.json").write_text(text)
    with pytest.raises(InputError, match="is not what `gridpact household show` writes"):
        Shown.read(path)
