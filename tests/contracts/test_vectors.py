"""The contracts do what the committed test vectors say, call by call."""

import json

import pytest
from brownie import accounts as brownie_accounts
from helpers import overdue, setting, theta
from link import Link
from reference.vectors import DECIMALS, SHAPES, VECTORS
from settling import DEPOSIT, METER, START, signed


def binary(text):
    return bytes.fromhex(text[2:])


def number(text):
    return int(text, 16)


@pytest.fixture(params=sorted(SHAPES), scope="module")
def vector(request):
    return json.loads((VECTORS / f"{request.param}.json").read_text())


@pytest.fixture(scope="module")
def played(vector, VirtualAggregator, Clerk, TradeSettlement, TestEuro, referee, manager, signers, outsider):
    """The round of a vector, played on the contract; what each call has left is compared on the way."""
    declared = [call for call in vector["calls"] if call["call"] == "declare"]
    nodes = [call["node"] for call in declared]
    accounts = signers(max(nodes) + 1)
    steps, seconds, milliwatt = (vector[key] for key in ("steps", "stepSeconds", "powerResolutionMilliwatt"))
    chosen = list(setting(steps, vector["max_misses"], milliwatt))
    chosen[1] = seconds
    limits = theta(len(nodes), vector["mu"], tuple(vector["eps"]))
    aggregator = manager.deploy(VirtualAggregator, manager.deploy(Clerk, limits, tuple(chosen), referee))
    link = Link(aggregator)
    link.send(manager, "enrol", nodes, [str(accounts[node]) for node in nodes])
    vouching = None
    if "settlement" in vector:  # a tariff is published before anybody declares
        vouching = manager.deploy(TradeSettlement, aggregator, manager.deploy(TestEuro), outsider, METER.address)
        Link(vouching).send(
            outsider, "publishTariff", vector["round"], binary(vector["settlement"]["vouched"]["tariff"])
        )
    if vector["percent"] == 100:
        link.send(manager, "openRoundOf", vector["product"], vector["day"], 0)
    else:
        opened = link.send(manager, "openRoundWithin", vector["product"], vector["day"], 0, vector["percent"])
        assert opened.one("LimitsSet")["percent"] == vector["percent"]
    for call in vector["calls"]:
        tx = sent(link, vector["round"], accounts, manager, call)
        if call["call"] == "submit":
            (submitted,) = tx.all("Submitted")
            assert submitted["commitment"] == binary(call["commitment"])
            assert link.view("commitment", vector["round"], call["node"])[0] == binary(call["commitment"])
        closed = call.get("closed")
        assert len(tx.all("IterationClosed")) == (closed is not None)
        if closed is not None:
            event = tx.one("IterationClosed")
            assert event["sums"] == tuple(map(number, closed["sums"]))
            assert event["head"] == binary(closed["head"])
            assert (event["iteration"], event["present"]) == (closed["iteration"], closed["present"])
            assert event["residuals"] == number(closed["residuals"])
            assert [one["node"] for one in tx.all("Excluded")] == closed["excluded"]
    return aggregator, link, accounts, vouching


def sent(link, round_, accounts, manager, call):
    if call["call"] == "closeOverdue":
        overdue()
        return link.send(manager, "closeOverdueOf", round_ >> 24)
    sender = accounts[call["node"]]
    if call["call"] == "declare":
        told = (call[key] for key in ("parent", "children", "depth", "bids"))
        return link.send(sender, "declare", round_, *told, binary(call["book"]))
    copies = list(map(number, call["copies"]))
    place = round_, call["iteration"], call["history"]
    return link.send(sender, "submit", *place, copies, binary(call["bids"]), number(call["residuals"]))


def test_rounds_areAsTheVectorsSay(vector, played, TradeSettlement, TestEuro, manager, outsider):
    """VA2, VA4: sums, commitments, heads and exclusions on the way, and the outcome."""
    _, link, _, _ = played
    phase, iterations, present, day, head = link.view("outcome", vector["round"])
    told = vector["outcome"]
    assert (iterations, present, day, head) == (
        *(told[key] for key in ("iterations", "present", "day")),
        binary(told["head"]),
    )
    assert phase == ["None", "Declaring", "Iterating", "Converged", "Exhausted", "Abandoned"].index(told["phase"])
    assert link.view("headOf", vector["product"]) == (told["iterations"], binary(told["head"]))
    if "settlement" in vector:
        settlement_isAsTheVectorSays(vector, played, TradeSettlement, TestEuro, manager, outsider)
        vouching_isAsTheVectorSays(vector, played, TestEuro, manager, outsider)


def settlement_isAsTheVectorSays(vector, played, TradeSettlement, TestEuro, manager, outsider):
    """TS2, TS3: both sides of each pair state what the vector has, in one call a node."""
    told = vector["settlement"]
    aggregator, _, accounts, _ = played
    token = manager.deploy(TestEuro)
    assert token.decimals() == told["decimals"] == DECIMALS
    contract = manager.deploy(TradeSettlement, aggregator, token, outsider, METER.address)
    link, money = Link(contract), Link(token)
    openings = openings_of(told)
    for node in openings:
        money.send(manager, "mint", str(accounts[node]), START)
        money.send(accounts[node], "approve", str(contract), START)
        link.send(accounts[node], "deposit", DEPOSIT)
    for node in openings:
        said = [
            (other, binary(pair["trades"]), openings[other])
            for pair in told["pairs"]
            for one, other in ((pair["lower"], pair["higher"]), (pair["higher"], pair["lower"]))
            if one == node
        ]
        link.send(accounts[node], "state", vector["round"], said, openings[node])
    for pair in told["pairs"]:
        assert link.view("payment", binary(pair["trades"])) == pair["payment"]
        assert link.view("recorded", vector["round"], pair["lower"], pair["higher"]) != bytes(32)
    for one in told["net"]:
        assert link.view("netPayment", vector["round"], one["node"]) == one["payment"]


def openings_of(told):
    return {
        one["node"]: (*(binary(one[key]) for key in ("book", "bids", "before", "copies")), number(one["residuals"]))
        for one in told["openings"]
    }


def vouching_isAsTheVectorSays(vector, played, TestEuro, manager, outsider):
    """TS2, TS11: the lower node of each pair states it, and the metering account vouches; who has no deposit owes."""
    _, _, accounts, contract = played
    told, openings = vector["settlement"], openings_of(vector["settlement"])
    vouched = told["vouched"]
    link, money = Link(contract), Link(TestEuro.at(contract.token()))
    for account in (outsider, *(accounts[node] for node in vouched["stating"])):
        money.send(manager, "mint", str(account), vouched["deposit"])
        money.send(account, "approve", str(contract), vouched["deposit"])
        link.send(account, "deposit", vouched["deposit"])
    manager.transfer(METER.address, "1 ether")
    by_lower = {
        node: [
            (pair["higher"], binary(pair["trades"]), openings[pair["higher"]])
            for pair in told["pairs"]
            if pair["lower"] == node
        ]
        for node in vouched["stating"]
    }
    for node, said in by_lower.items():
        link.send(accounts[node], "state", vector["round"], said, openings[node])
    for node, said in by_lower.items():
        link.send(
            brownie_accounts.add(METER.key),
            "vouch",
            vector["round"],
            node,
            said,
            openings[node],
            [(str(outsider), binary(vouched["tariff"]))],
        )
    for one in vouched["left"]:
        account = str(accounts[one["node"]])
        assert (link.view("free", account), link.view("arrears", account)) == (one["free"], one["arrears"])
        assert link.view("locked", account) == 0
    assert link.view("free", str(outsider)) == vouched["supplier"]
    for one in told["net"]:
        assert link.view("netPayment", vector["round"], one["node"]) == one["payment"]
    for one in vouched["delivered"]:
        reading, node = binary(one["reading"]), one["node"]
        positions = [
            (pair["lower"] + pair["higher"] - node, binary(pair["trades"]))
            for pair in told["pairs"]
            if node in (pair["lower"], pair["higher"])
        ]
        signature = signed(contract, vector["round"], node, reading)
        delivery = vector["round"], node, reading, binary(vouched["tariff"]), sorted(positions), *signature
        assert link.send(outsider, "deliver", *delivery).one("Delivered")["payment"] == one["payment"]
