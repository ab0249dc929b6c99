"""The manager's commands, from nothing to a round that is agreed on: a chain with Sepolia's id, rules, base fee and
regular blocks. What is wrong is said in one sentence, before anything is sent.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from chains import skip_without
from unit.chain.explorer_stub import running_stub
from waiting import SECONDS
from web3 import Web3

from gridpact.chain import explorer
from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.artifacts import TOKEN
from gridpact.chain.encoding import decode_tariff
from gridpact.chain.explorer import EXPLORER_KEY
from gridpact.chain.fees import ETHER, GWEI
from gridpact.chain.inspection import inspect_deployment
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.keystore import create_keystore
from gridpact.chain.networks import Imitation, open_imitation
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Phase
from gridpact.cli import main
from gridpact.cli.watch import View
from gridpact.community.model import CommunityDay
from gridpact.manage.deployment import Parameters
from gridpact.manage.metering import planned_wh
from gridpact.manage.watching import Watcher
from gridpact.node.household_file import write_view
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.run.launch import NodeFiles, run_node

SEPOLIA = 11155111
PASSWORD = "correct horse"
SUPPLIER, METERING, POOR = (str(address_of(f"0x{number:064x}")) for number in (101, 102, 103))


@dataclass(frozen=True)
class Site:
    """A chain that imitates Sepolia, and the manager's folder."""

    url: str
    web3: Web3
    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / "sepolia.json"

    def key(self, node: int) -> str:
        return f"0x{node + 1:064x}"

    def deploy(self, *more: str) -> list[str]:
        roles = ["--supplier", SUPPLIER, "--metering", METERING, "--community", "tiny3"]
        blocks = ["--confirmations", "2"]
        return ["deploy", "--network", "sepolia", "--out", str(self.record), *roles, *self.sender, *blocks, *more]

    @property
    def sender(self) -> list[str]:
        keystore = ["--keystore", str(self.folder / "manager.json"), "--password-file", str(self.folder / "password")]
        return ["--rpc", self.url, *keystore, "--confirmations", "1", "--yes"]

    @property
    def place(self) -> list[str]:
        return ["--network", "sepolia", "--contracts", str(self.record)]


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """They stay as pytest wants them."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    skip_without("anvil")
    folder = tmp_path_factory.mktemp("manager")
    key = new_key()
    create_keystore(folder / "manager.json", key, PASSWORD, scrypt_n=2**4)
    create_keystore(folder / "poor.json", f"0x{103:064x}", PASSWORD, scrypt_n=2**4)
    create_keystore(folder / "supplier.json", f"0x{101:064x}", PASSWORD, scrypt_n=2**4)
    create_keystore(folder / "metering.json", f"0x{102:064x}", PASSWORD, scrypt_n=2**4)
    (folder / "password").write_text(PASSWORD + "\n")
    with open_imitation(Imitation(SEPOLIA, block_seconds=1.0, base_fee_wei=2 * GWEI)) as network:
        web3 = network.connect()
        for address in (address_of(key), SUPPLIER, METERING):
            web3.provider.make_request("anvil_setBalance", [address, hex(10 * ETHER)])  # type: ignore[arg-type]
        yield Site(str(network.rpc_url), web3, folder)


@pytest.fixture(scope="module")
def record(site: Site) -> Record:
    """The contracts of tiny3, deployed by the command."""
    assert main(site.deploy("--max-fee-gwei", "20")) == 0
    return Record.read(site.record)


@pytest.fixture(scope="module")
def enrolled(site: Site, record: Record) -> Record:
    """All four nodes."""
    table = site.folder / "accounts.csv"
    rows = [f"{node},{address_of(site.key(node))}" for node in range(4)]
    table.write_text("\n".join(["node,address", *rows]) + "\n")
    arguments = ["--ether", "0.5", "--test-tokens", "100", *site.place, *site.sender]
    assert main(["enrol", str(table), *arguments]) == 0
    return record


def complaint(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Runs a command that must fail, and returns its one sentence."""
    assert main(arguments) == 2
    err = capsys.readouterr().err.strip()
    assert err.startswith("gridpact: ")
    assert "\n" not in err
    assert "Traceback" not in err
    return err.removeprefix("gridpact: ")


def replaced(arguments: list[str], option: str, value: str) -> list[str]:
    """The same arguments with another value of an option."""
    place = arguments.index(option) + 1
    return [*arguments[:place], value, *arguments[place + 1 :]]


# ---------------------------------------------------------------------- the way to a round


def test_dryRun_sendsNothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """On a fork: the deployment goes through there, and the network itself has not one transaction more."""
    keystore = replaced(site.deploy("--dry-run", "--days", "--open"), "--keystore", str(site.folder / "poor.json"))
    assert main(keystore) == 0
    out = capsys.readouterr().out
    assert "a fork of sepolia at block" in out
    assert f"chain {SEPOLIA}" in out
    assert "would lack" in out  # the account has nothing there
    assert "all checks held, 8 transactions, for open rounds" in out  # with the settlement of days and of calls
    assert site.web3.eth.get_transaction_count(Web3.to_checksum_address(POOR)) == 0
    assert not site.record.exists()


def test_deploy_writesWhatANodeNeeds(site: Site, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    assert (record.network, record.chain_id) == ("sepolia", SEPOLIA)
    assert (record.supplier, record.metering) == (SUPPLIER, METERING)
    assert record.sealed
    assert TOKEN in record.transactions
    assert len(inspect_deployment(site.web3, record)) == 5
    expected = Parameters.of_community(_tiny3(), 300)
    assert Aggregator.of(record, site.web3).theta() == expected.theta
    receipts = [site.web3.eth.get_transaction_receipt(h) for h in record.transactions.values()]  # type: ignore[arg-type]
    assert all(receipt["effectiveGasPrice"] <= 20 * GWEI for receipt in receipts)
    assert min(receipt["blockNumber"] for receipt in receipts) >= record.block
    assert main(["verify", *site.place, "--rpc", site.url]) == 0
    assert "are what was compiled, with the values of the record" in capsys.readouterr().out
    # The record of a public network is not overwritten.
    assert "is recorded in" in complaint(capsys, site.deploy())


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize("point", ["before sending", "after sending", "before the record"])
def test_deploy_goesOnWhereItStopped(
    site: Site, point: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at the second contract, or with all of them deployed: in the end there are five transactions."""
    out = tmp_path / "sepolia.json"
    again = replaced(site.deploy(), "--out", str(out))
    manager = Web3.to_checksum_address(Record.read(site.record).manager)
    before = site.web3.eth.get_transaction_count(manager)

    def stopped(*arguments: Any, **named: Any) -> Any:
        if target is Record or arguments[0].address == manager:  # the estimate has a chain and an account of its own
            calls.append(arguments)
        if len(calls) == (1 if target is Record else 2):
            raise KeyboardInterrupt
        return method(*arguments, **named)

    calls: list[Any] = []
    target: Any = Record if point == "before the record" else ChainAccount
    name = {"before sending": "post", "after sending": "settle", "before the record": "write"}[point]
    method = getattr(target, name)
    with monkeypatch.context() as patch:
        patch.setattr(target, name, stopped)
        assert main(again) == 130
    assert not out.exists()
    unfinished = tmp_path / "sepolia.json.unfinished"
    noted = json.loads(unfinished.read_text())
    assert len(noted["sent"]) == (5 if target is Record else 2)

    capsys.readouterr()
    assert f"begun with another supplier, and not finished: go on with that one, or remove {unfinished}" in complaint(
        capsys, replaced(again, "--supplier", METERING)
    )
    noted["sent"] = {TOKEN: noted["sent"][TOKEN]}  # another version compiled another token
    patched = tmp_path / "other.json.unfinished"
    noted["sent"][TOKEN]["nonce"] += 1
    del noted["sent"][TOKEN]["hash"]
    if point != "before sending":
        patched.write_text(json.dumps(noted))
        assert "was deployed by another version of gridpact" in complaint(
            capsys, replaced(again, "--out", str(tmp_path / "other.json"))
        )
    told = printed(again)
    assert "going on with the deployment that stopped; TestEuro" in told
    assert site.web3.eth.get_transaction_count(manager) == before + 5
    assert not unfinished.exists()
    record = Record.read(out)
    assert len(record.transactions) == len(inspect_deployment(site.web3, record)) == 5
    assert record.block == noted["block"]


def test_enrol_givesWhatIsNeeded(site: Site, enrolled: Record, capsys: pytest.CaptureFixture[str]) -> None:
    aggregator = Aggregator.of(enrolled, site.web3)
    for node in range(4):
        assert aggregator.account_of(node) == address_of(site.key(node))
        assert site.web3.eth.get_balance(address_of(site.key(node))) == ETHER // 2
    count = site.web3.eth.get_transaction_count(Web3.to_checksum_address(enrolled.manager))
    again = ["enrol", str(site.folder / "accounts.csv"), "--ether", "0.5", *site.place, *site.sender]
    assert "enrolled already" in printed([*again, "--test-tokens", "100"])
    assert "Node 7 is not enrolled: the enrolled ones are 0, 1, 2, 3" in complaint(capsys, expel(site, "7"))
    assert site.web3.eth.get_transaction_count(Web3.to_checksum_address(enrolled.manager)) == count
    assert "expelled 3; 3 nodes are enrolled" in printed(expel(site, "3"))
    assert aggregator.account_of(3) is None
    again = printed(["enrol", str(site.folder / "accounts.csv"), *site.place, *site.sender])
    assert "1 nodes enrolled, 3 were so before; 4 of 4 places are taken" in again
    assert aggregator.account_of(3) == address_of(site.key(3))


@pytest.mark.usefixtures("enrolled")
def test_enrol_goesOnWhereItStopped(site: Site, enrolled: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted when the third of five accounts was to get its tokens: in the end each has what it must have."""
    token = Settlement.of(enrolled, site.web3).token
    owners = [*(str(address_of(site.key(node))) for node in range(4)), SUPPLIER]
    command = ["enrol", str(site.folder / "accounts.csv"), "--test-tokens", "120", *site.place, *site.sender]
    post, calls = ChainAccount.post, []

    def stopped(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return post(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ChainAccount, "post", stopped)
        assert main(command) == 130
    assert "gridpact: 0 nodes enrolled, 4 were so before" in printed(command)
    assert [token.balance(owner) for owner in owners] == [120 * 10**6] * 5


def expel(site: Site, node: str) -> list[str]:
    return ["expel", node, *site.place, *site.sender]


@dataclass(frozen=True)
class Watched:
    """A round of tiny3 as the commands told of it."""

    opened: str
    before: dict[str, Any]  # anybody declared
    states: list[dict[str, Any]]


@pytest.fixture(scope="module")
def watched(site: Site, enrolled: Record) -> Watched:
    """Tariff, round, four nodes, and `gridpact watch` to the end. Blocks come with transactions meanwhile."""
    supplier = replaced(site.sender, "--keystore", str(site.folder / "supplier.json"))
    assert main(["round", "tariff", "--community", "tiny3", *site.place, *supplier]) == 0
    assert "was published before" in printed(["round", "tariff", "--community", "tiny3", *site.place, *supplier])
    opened = printed(["round", "open", "--day", "2025-11-22", *site.place, *site.sender])
    before = json.loads(printed(["round", "status", "--json", *site.place, "--rpc", site.url]))
    for method, parameter in (("evm_setIntervalMining", 0), ("evm_setAutomine", True)):
        site.web3.provider.make_request(method, [parameter])  # type: ignore[arg-type]
    threads = [threading.Thread(target=run_node, args=_node(site, node), daemon=True) for node in range(4)]
    for thread in threads:
        thread.start()
    lines = printed(["watch", "--json", "--eth-price", "2000", *site.place, "--rpc", site.url]).splitlines()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    for method, parameter in (("evm_setAutomine", False), ("evm_setIntervalMining", 1)):
        site.web3.provider.make_request(method, [parameter])  # type: ignore[arg-type]
    return Watched(opened, before, [json.loads(line) for line in lines])


def printed(arguments: list[str]) -> str:
    """What a command that goes well prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(arguments) == 0
    return out.getvalue()


def test_round_isOpenedWithItsTariff(site: Site, enrolled: Record, watched: Watched) -> None:
    assert "round 1 of 2025-11-22 is open for 4 nodes" in watched.opened
    assert Aggregator.of(enrolled, site.web3).day_of(1) == 20251122
    imported, _ = decode_tariff(Settlement.of(enrolled, site.web3).tariff(1))
    assert imported == tuple(round(1e6 * price) for price in _tiny3().on("1").prices.import_price)


def test_watch_followsTheRound(site: Site, enrolled: Record, watched: Watched) -> None:
    web3, last = site.web3, watched.states[-1]
    before = watched.before
    assert (before["phase"], before["missing"], before["present"]) == ("declaring", [0, 1, 2, 3], 0)
    assert last["phase"] == "converged"
    assert last["iteration"] == Aggregator.of(enrolled, web3).outcome(1).iterations
    seen = [state["iteration"] for state in watched.states]
    assert seen == sorted(seen)
    assert all(rms <= last["limits_w"][name] for name, rms in last["rms_w"].items())
    # Every transaction of the round, counted by another way: those that any block brought to the aggregator.
    blocks = range(enrolled.block, web3.eth.block_number + 1)
    every = [one for number in blocks for one in web3.eth.get_block(number, True)["transactions"]]
    sent: list[Any] = [one for one in every if one.get("to") == enrolled.aggregator]  # type: ignore[union-attr]
    opening = [bytes(one["input"][:4]) for one in sent].index(bytes(web3.keccak(text="openRound(uint32)")[:4]))
    of_the_round = [web3.eth.get_transaction_receipt(one["hash"]) for one in sent[opening:]]
    wei = sum(receipt["gasUsed"] * receipt["effectiveGasPrice"] for receipt in of_the_round)
    gas = sum(receipt["gasUsed"] for receipt in of_the_round)
    assert last["spent"] == {"gas": gas, "wei": wei, "transactions": len(of_the_round)}
    assert last["cost_eur"] == pytest.approx(wei / ETHER * 2000, rel=1e-6)  # the average price is in whole wei


def test_status_isForReaders(site: Site, watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    """After the round; gas at a stated price."""
    text = printed(["round", "status", *site.place, "--rpc", site.url])
    assert "Round 1 of 2025-11-22 on sepolia: converged" in text
    assert text.count("✓") == 4
    assert "no round 2" in complaint(capsys, ["round", "status", "--round", "2", *site.place, "--rpc", site.url])
    for number in ("-1", "0", "99"):
        audit = ["audit", "--contracts", str(site.record), "--rpc", site.url, "--round", number]
        assert f"there is no round {number}: rounds 1 to " in complaint(capsys, audit)
    (line,) = printed(["watch", "--gas-price-gwei", "10", "--json", *site.place, "--rpc", site.url]).splitlines()
    state = json.loads(line)
    assert state["cost_wei"] == state["spent"]["gas"] * 10 * GWEI == watched.states[-1]["spent"]["gas"] * 10 * GWEI


def meters(watched: Watched, site: Site) -> dict[int, list[int]]:
    """What the nodes' reports plan at their meters, Wh a step; node 3 draws 1 kWh more in the first."""
    found = {}
    for node in (1, 2, 3):
        report = json.loads((site.folder / f"node-{node}" / "report.json").read_text())
        found[node] = [round(6000 * kw) for kw in report["schedule"]["injection_kw"]]
    found[3][0] -= 1000
    return found


def table(folder: Path, energies: Mapping[int, Sequence[float]], header: str = "time,node,meter_wh") -> Path:
    """The readings of one day, in steps of six hours."""
    path = folder / "readings.csv"
    rows = [
        f"2025-11-22 {6 * k:02d}:00,{node},{wh}" for node, series in energies.items() for k, wh in enumerate(series)
    ]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def settling(site: Site, path: Path, *more: str) -> list[str]:
    sender = replaced(site.sender, "--keystore", str(site.folder / "metering.json"))
    return ["readings", "settle", str(path), "--day", "2025-11-22", *site.place, *sender, *more]


def test_readings_areSettled(
    site: Site, enrolled: Record, watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Meters of two, then of the third; what is moved is what the contract itself says, and sums to zero."""
    settlement, energies = Settlement.of(enrolled, site.web3), meters(watched, site)
    sold = {node: wh for node, wh in energies.items() if sum(wh) > 0}
    assert sold  # somebody feeds in, so the supplier has to pay
    assert main([*settling(site, table(tmp_path, energies)), "--dry-run"]) == 1
    said = capsys.readouterr().out.splitlines()
    left_out = [line for line in said if "left out" in line]
    for node, line in zip(sorted(sold), left_out, strict=True):
        assert line.startswith(f"gridpact: the reading of node {node} is left out, as the supplier {SUPPLIER} pays ")
        assert "free deposit is 0 tEUR: let it deposit " in line
    supplier = replaced(site.sender, "--keystore", str(site.folder / "supplier.json"))
    printed(["deposit", "add", "50", *site.place, *supplier])

    stranger = replaced(settling(site, table(tmp_path, energies)), "--keystore", str(site.folder / "manager.json"))
    assert f"The metering account is {METERING}, the key given is of" in complaint(capsys, stranger)

    assert planned_wh(Aggregator.of(enrolled, site.web3), 1) == {}  # the round is sealed

    two = table(tmp_path, {node: energies[node] for node in (1, 2)})
    before = site.web3.eth.block_number, settlement.deliveries(1)
    dry = printed(settling(site, two, "--dry-run"))
    assert "lacks the readings of nodes 3" in dry
    assert "settle node 2" in dry
    assert "nothing was sent" in dry
    assert settlement.deliveries(1) == before[1] == {}
    told = printed(settling(site, two))
    assert "the readings of 2 households in round 1 of 2025-11-22 are settled" in told
    assert settlement.deliveries(1).keys() == {1, 2}
    whole = table(tmp_path, energies)
    told = printed(settling(site, whole))
    assert "the readings of 1 household in round 1" in told
    assert "all 3 readings of 2025-11-22 are settled already" in printed(settling(site, whole))

    moved = json.loads(printed(["readings", "show", "--day", "2025-11-22", "--json", *site.place, "--rpc", site.url]))
    assert moved["round"] == 1
    nets = {row["node"]: row["net"] for row in moved["households"]}
    assert nets == {node: f"{settlement.net_payment(1, node) / 1e6:.6f}" for node in (1, 2, 3)}
    assert sum(settlement.net_payment(1, node) for node in (1, 2, 3)) == -settlement.supplier_payment(1) != 0
    for row in moved["households"]:
        wh = energies[row["node"]]
        assert (row["fed_in_wh"], row["drawn_wh"]) == (sum(max(e, 0) for e in wh), sum(max(-e, 0) for e in wh))
        beyond = row["surplus_wh"] - row["shortage_wh"]
        assert beyond + row["sold_wh"] - row["bought_wh"] == sum(wh)
    assert sum(row["sold_wh"] for row in moved["households"]) == sum(r["bought_wh"] for r in moved["households"]) > 0
    shown = printed(["readings", "show", "--day", "2025-11-22", *site.place, "--rpc", site.url])
    assert len(shown.splitlines()) == 4

    # What counts once cannot be said otherwise.
    energies[2][1] -= 500
    assert "The day of node 2 in round 1 is settled with other readings" in complaint(
        capsys, settling(site, table(tmp_path, energies))
    )


def test_readings_areCorrected(
    site: Site,
    enrolled: Record,
    watched: Watched,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By consent: what the household has sent counts once the supplier has sent the same; what is then owed and cannot
    be paid may be forgiven."""
    settlement = Settlement.of(enrolled, site.web3)
    done = settlement.deliveries(1)
    account = str(address_of(site.key(2)))
    more = [wh - 20_000 for wh in done[2].energies_wh]  # 80 kWh more drawn: more than it has deposited
    file = table(tmp_path, {2: more})
    command = ["readings", "correct", str(file), "--day", "2025-11-22", "--accept", "size,sign", *site.place]
    supplier = replaced(site.sender, "--keystore", str(site.folder / "supplier.json"))
    household = ["--rpc", site.url, "--confirmations", "1", "--yes"]

    monkeypatch.setenv("GRIDPACT_MANAGER_KEY", site.key(1))
    assert f"The readings are of nodes 2, and {address_of(site.key(1))} was none" in complaint(
        capsys, [*command, *household]
    )
    monkeypatch.setenv("GRIDPACT_MANAGER_KEY", site.key(2))
    assert "the correction of node 2 counts once its supplier has sent the same" in printed([*command, *household])
    assert settlement.deliveries(1) == done
    before, free = settlement.net_payment(1, 2), settlement.free(account)
    assert "the reading of node 2 in round 1 of 2025-11-22 is corrected" in printed([*command, *supplier])
    now = settlement.deliveries(1)
    assert now[2].energies_wh == tuple(more)
    assert now[2].payment - done[2].payment == settlement.net_payment(1, 2) - before < 0
    assert now[2].arrears == settlement.arrears(account) == before - settlement.net_payment(1, 2) - free > 0
    assert {node: now[node] for node in (1, 3)} == {node: done[node] for node in (1, 3)}
    moved = json.loads(printed(["readings", "show", "--day", "2025-11-22", "--json", *site.place, "--rpc", site.url]))
    assert {row["node"]: row["net"] for row in moved["households"]}[2] == f"{settlement.net_payment(1, 2) / 1e6:.6f}"
    assert "are settled as they are in the file" in printed([*command, *supplier])

    forgiving = ["deposit", "forgive", "1", "--node", "2", *site.place]
    assert f"The supplier is {SUPPLIER}, the key given is of {account}" in complaint(capsys, [*forgiving, *household])
    owed = settlement.arrears(account)
    printed([*forgiving, *supplier])
    assert settlement.arrears(account) == owed - 10**6
    printed([*replaced(forgiving, "forgive", "1e9"), *supplier])
    assert settlement.arrears(account) == 0
    assert f"Account {account} owes nothing" in complaint(capsys, [*forgiving, *supplier])


@pytest.mark.usefixtures("watched")
def test_householdLimits_whatADayTakes(
    site: Site, enrolled: Record, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDPACT_MANAGER_KEY", site.key(3))
    settlement, account = Settlement.of(enrolled, site.web3), str(address_of(site.key(3)))
    limit = ["deposit", "limit", "3.5", *site.place, "--rpc", site.url, "--confirmations", "1", "--yes"]
    coming = Aggregator.of(enrolled, site.web3).progress().round + 1
    assert f"from round {coming} on" in printed(limit)
    assert (settlement.debit_limit(account, 1), settlement.debit_limit(account)) == (0, 3_500_000)
    assert "a limit is a number of at least 0, not nan" in complaint(capsys, replaced(limit, "limit", "nan"))
    printed(replaced(limit, "limit", "0"))
    assert settlement.debit_limit(account) == 0


def test_readings_complain(site: Site, watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is sent; what is in the file is in the tests of `metering`."""
    good = table(tmp_path, meters(watched, site))
    for sentence, arguments in {
        "is not over before": replaced(settling(site, good), "--day", "2099-01-01"),
        "No round was opened for 2025-11-21": replaced(settling(site, good), "--day", "2025-11-21"),
        "'yesterday' is no date": replaced(settling(site, good), "--day", "yesterday"),
        "Round 7 was not opened for 2025-11-22": settling(site, good, "--round", "7"),
        "there is no unit 'MWh'": settling(site, good, "--unit", "MWh"),
        "there is no time zone 'Utopia'": settling(site, good, "--timezone", "Utopia"),
    }.items():
        assert sentence in complaint(capsys, arguments)
    other = table(tmp_path, {1: meters(watched, site)[1], 9: [0, 0, 0, 0]})
    assert "Node 9 was not in round 1, in which were 1, 2, 3" in complaint(capsys, settling(site, other))


@pytest.mark.usefixtures("watched")
def test_deposit_comesAndGoes(site: Site, enrolled: Record, capsys: pytest.CaptureFixture[str]) -> None:
    """And says what is missing, in the tariff's command too."""
    supplier = replaced(site.sender, "--keystore", str(site.folder / "supplier.json"))
    settlement = Settlement.of(enrolled, site.web3)
    outside, free = settlement.token.balance(SUPPLIER), settlement.free(SUPPLIER)
    printed(["deposit", "add", "2.5", *site.place, *supplier])
    assert (settlement.token.balance(SUPPLIER), settlement.free(SUPPLIER)) == (outside - 2500000, free + 2500000)
    printed(["deposit", "withdraw", "1.5", *site.place, *supplier])
    assert (settlement.token.balance(SUPPLIER), settlement.free(SUPPLIER)) == (outside - 1000000, free + 1000000)
    assert "less than 1e+06: withdraw no more" in complaint(
        capsys, ["deposit", "withdraw", "1000000", *site.place, *supplier]
    )
    tariff = ["round", "tariff", "--community", "tiny3", "--deposit", "1000", *site.place, *supplier]
    said = complaint(capsys, tariff)
    assert f"Account {SUPPLIER} holds {(outside - 1000000) / 1e6:g} tEUR and is to deposit 1000: send it" in said


@pytest.mark.usefixtures("watched")
def test_openRound_refusesASecondOne(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """And a supplier's tariff from anybody else."""
    opening = ["round", "open", "--day", "2025-11-23", *site.place, *site.sender]
    tariff = ["round", "tariff", "--community", "tiny3", *site.place, *site.sender]
    assert "The supplier is" in complaint(capsys, tariff)
    before = site.web3.eth.get_transaction_count(address_of_manager := Record.read(site.record).manager)
    assert "2025-11-22 was agreed on in round 1" in complaint(capsys, replaced(opening, "--day", "2025-11-22"))
    assert site.web3.eth.get_transaction_count(address_of_manager) == before
    assert main(opening) == 0
    reader = Aggregator.of(Record.read(site.record), site.web3)
    assert [reader.agreed_in(day) for day in (20251122, 20251123, 20251124)] == [1, 0, 0]
    capsys.readouterr()
    assert "Round 2 is still running (day 20251123" in complaint(capsys, opening)
    early = replaced(settling(site, site.folder / "none.csv"), "--day", "2025-11-23")
    assert "Round 2 of 2025-11-23 still runs" in complaint(capsys, early)


class Terminal(list[str]):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.append(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def test_view_paintsOverWhatItShowed(site: Site, enrolled: Record, watched: Watched) -> None:
    state = Watcher(Aggregator.of(enrolled, site.web3), 3000.0).look(1)
    running = replace(state, phase=Phase.ITERATING, missing=(3,), seconds_left=12)
    terminal: Any = Terminal()
    view = View(terminal, "sepolia", json_lines=False)
    view.hear(running)
    lines = "".join(terminal).count("\n")
    assert "missing 3" in "".join(terminal)
    view.hear(state)
    assert f"\x1b[{lines}F\x1b[J" in "".join(terminal)


def test_verify_showsTheSourcesToAnExplorer(
    site: Site, enrolled: Record, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EXPLORER_KEY, "a-key")
    monkeypatch.setattr(explorer, "PAUSE_SECONDS", 0.01)
    with running_stub() as stub:
        verify = ["verify", "--explorer", stub.url, *site.place, "--rpc", site.url]
        assert printed(verify).count("Pass - Verified") == 5
        stub.answers = [("0", "Invalid API Key")]
        assert "Invalid API Key" in complaint(capsys, verify)
    monkeypatch.delenv(EXPLORER_KEY)
    assert f"set {EXPLORER_KEY}" in complaint(capsys, verify)


# ---------------------------------------------------------------------- what is wrong


def test_deploy_complains(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (site.folder / "wrong").write_text("battery staple")
    poor = replaced(site.deploy(), "--keystore", str(site.folder / "poor.json"))
    out = site.folder / "other.json"
    cases = {
        "base-sepolia is chain 84532, but the node at --rpc is on chain 11155111": ("--network", "base-sepolia"),
        "does not open with this password": ("--password-file", str(site.folder / "wrong")),
        "There is no keystore": ("--keystore", str(site.folder / "nothing.json")),
        "The supplier of the deployment: '0x12' is no address": ("--supplier", "0x12"),
    }
    for sentence, (option, value) in cases.items():
        assert sentence in complaint(capsys, replaced(replaced(site.deploy(), "--out", str(out)), option, value))
    arguments = replaced(site.deploy(), "--out", str(out))
    assert "no contract at the token's address" in complaint(capsys, [*arguments, "--token", SUPPLIER])
    assert "no contract at the token's address" in complaint(capsys, [*arguments, "--token", "standard"])
    assert "the ceiling is 0.1" in complaint(capsys, [*arguments, "--max-fee-gwei", "0.1"])
    sentence = complaint(capsys, replaced(poor, "--out", str(out)))
    assert f"Account {POOR} has 0.000000 ETH, and the deployment may need" in sentence
    assert "more, or lower the ceiling" in sentence
    assert "say --yes" in complaint(capsys, [one for one in arguments if one != "--yes"])
    monkeypatch.delenv("GRIDPACT_MANAGER_KEY", raising=False)
    monkeypatch.delenv("GRIDPACT_KEYSTORE", raising=False)
    keyless = [one for one in arguments if one not in ("--keystore", str(site.folder / "manager.json"))]
    assert "The manager's key is needed" in complaint(capsys, keyless)
    roleless = [one for one in arguments if one not in ("--metering", METERING)]
    assert "name no metering account" in complaint(capsys, roleless)
    assert not out.exists()


@pytest.mark.parametrize(("answer", "said"), [("n", "nothing was sent, as you wished"), ("", "nothing was sent")])
def test_send_asksFirst(
    site: Site,
    enrolled: Record,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    said: str,
) -> None:
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or answer)
    table = site.folder / "accounts.csv"
    more = ["--ether", "0.6", *site.place, *[one for one in site.sender if one != "--yes"]]
    assert said in complaint(capsys, ["enrol", str(table), *more])
    assert asked == ["Send to sepolia? [y/N] "]
    assert site.web3.eth.get_balance(address_of(site.key(0))) <= ETHER // 2


def test_parameters_complain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = json.loads((Path(__file__).parents[2] / "deploy" / "parameters" / "development.json").read_text())
    path = tmp_path / "parameters.json"
    broken: dict[str, dict[str, Any]] = {
        "lacks 'token'": {key: value for key, value in good.items() if key != "token"},
        "has 'tokens', which is no parameter": {**good, "tokens": None},
        "'theta' lacks 'mu'": {**good, "theta": {k: v for k, v in good["theta"].items() if k != "mu"}},
        "'setting' has the unknown 'step'": {**good, "setting": {**good["setting"], "step": 1}},
        "'theta.rho' must be a whole number": {**good, "theta": {**good["theta"], "rho": 0.15}},
    }
    for sentence, values in broken.items():
        path.write_text(json.dumps(values))
        assert sentence in complaint(capsys, ["deploy", "--network", "anvil", "--parameters", str(path)])
    path.write_text(json.dumps(good))
    assert Parameters.read(path).as_json() == good


def test_enrol_complains(site: Site, enrolled: Record, capsys: pytest.CaptureFixture[str]) -> None:
    table = site.folder / "table.csv"
    first = address_of(site.key(0))
    cases = {
        "column 'address': '0x12' is no address": "node,address\n0,0x12\n",
        "row 3, column 'node': node 0 has an account already": f"node,address\n0,{first}\n0,{SUPPLIER}\n",
        "is another node's already": f"node,address\n0,{first}\n1,{first}\n",
        "has a header but no rows": "node,address\n",
        f"Node 0 is enrolled with account {first}": f"node,address\n0,{SUPPLIER}\n",
        f"Account {first} is enrolled as node 0, not 5": f"node,address\n5,{first}\n",
        "only 0 of 4 places are free": f"node,address\n5,{SUPPLIER}\n",
    }
    for sentence, text in cases.items():
        table.write_text(text)
        assert sentence in complaint(capsys, ["enrol", str(table), *site.place, *site.sender])


def test_commands_refuseWhatDoesNotBelongTogether(
    site: Site, enrolled: Record, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = tmp_path / "mainnet.json"
    other.write_text(json.dumps({**json.loads(site.record.read_text()), "network": "base-sepolia", "chain_id": 84532}))
    place = ["--network", "sepolia", "--contracts", str(other), "--rpc", site.url]
    for command in (["round", "status"], ["watch"]):
        assert "is of base-sepolia (chain 84532)" in complaint(capsys, [*command, *place])
    stranger = replaced(site.sender, "--keystore", str(site.folder / "poor.json"))
    opening = ["round", "open", "--day", "2025-11-23", *site.place]
    enrolling = ["enrol", str(site.folder / "accounts.csv"), *site.place]
    assert f"managed by {enrolled.manager}" in complaint(capsys, [*enrolling, *stranger])
    assert "no date" in complaint(capsys, replaced([*opening, *site.sender], "--day", "tomorrow"))
    assert "give --network NAME or --contracts FILE" in complaint(capsys, ["round", "status", "--rpc", site.url])
    assert "no positive number" in complaint(capsys, ["watch", "--every", "0", *site.place])


# ---------------------------------------------------------------------- parts


def _tiny3() -> Any:
    from gridpact.community.read import read_community

    return read_community("tiny3")


def _node(site: Site, node: int) -> tuple[Any, ...]:
    """What `run_node` is given."""
    day: CommunityDay = _tiny3().on("1")
    (view,) = [one for one in node_views(day, Scenario.TG, NetworkAgreement.DSO) if one.node == node]
    files = NodeFiles(site.folder / f"node-{node}", site.record)
    files.folder.mkdir()
    write_view(view, files.household)
    files.key.write_text(site.key(node) + "\n")
    return files.record, files.household, files.key, files.report, site.url
