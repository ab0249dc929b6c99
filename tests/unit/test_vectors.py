"""The committed test vectors are what the models write, and the clients' codec and hashes read and write the same."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from property.readings import DECIMALS, Told
from reference.vectors import SHAPES, VECTORS, vectors

from gridpact.chain.commitments import START, bids_hash, extended, head_with, submission_hash, words_hash
from gridpact.chain.encoding import decode_energies, decode_trades, encode_energies, encode_trades
from gridpact.chain.flexibility import CallOutcome, FlexibilityCall, OfferTerms
from gridpact.chain.values import ClosedIteration, TradeRecord, bitmap_to_nodes, unpack_residuals
from gridpact.manage import flexibility
from gridpact.manage.metering import comes_to
from gridpact.market.admm.assembly import Assembly, TreePlace
from gridpact.market.admm.codec import (
    decode_bids,
    decode_book,
    decode_copies,
    decode_sums,
    encode_bids,
    encode_copies,
)
from gridpact.problem.blocks import Block, Kind

NAMES = [f"{shape}.json" for shape in SHAPES]


def binary(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def number(text: str) -> int:
    return int(text, 16)


@pytest.fixture(params=NAMES)
def vector(request: pytest.FixtureRequest) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((VECTORS / str(request.param)).read_text())
    return read


def of(vector: dict[str, Any], call: str) -> list[dict[str, Any]]:
    return [one for one in vector["calls"] if one["call"] == call]


def test_committedVectors_areWhatTheModelsWrite() -> None:
    written = vectors()
    assert {path.name for path in VECTORS.iterdir()} == set(written) == {*NAMES, "flexibility.json"}
    for name, text in written.items():
        assert (VECTORS / name).read_text() == text, f"{name} differs: make vectors"


def test_codec_readsAndWritesCopiesAndBids(vector: dict[str, Any]) -> None:
    for call in of(vector, "submit"):
        blocks = [Block(Kind[one["kind"]], one["node"]) for one in call["values"]]
        values = np.array([one["values"] for one in call["values"]], dtype=np.int64).reshape(-1, vector["steps"])
        words = [number(word) for word in call["copies"]]
        assert encode_copies(blocks, values) == words
        assert (decode_copies(blocks, words, vector["steps"]) == values).all()
        assert encode_bids(np.array(call["bidValues"], dtype=np.int64)) == binary(call["bids"])
        assert decode_bids(binary(call["bids"])).tolist() == call["bidValues"]


def test_hashes_areThoseOfTheClients(vector: dict[str, Any]) -> None:
    """Each submission's, the commitment of its node, and the head of each closed iteration."""
    commitments: dict[int, bytes] = {}
    head = START
    for call in vector["calls"]:
        if call["call"] == "submit":
            node, copies = call["node"], words_hash(number(word) for word in call["copies"])
            bids, residuals = bids_hash(binary(call["bids"])), number(call["residuals"])
            assert call["history"] == int.from_bytes(head[-2:], "big")
            h = submission_hash(vector["round"], call["iteration"], node, copies, bids, residuals)
            assert h == binary(call["hash"])
            commitments[node] = extended(commitments.get(node, START), h)
            assert commitments[node] == binary(call["commitment"])
        if "closed" in call:
            told = call["closed"]
            sums = tuple(number(word) for word in told["sums"])
            present, residuals_ = bitmap_to_nodes(told["present"]), unpack_residuals(number(told["residuals"]))
            head = head_with(head, vector["round"], ClosedIteration(told["iteration"], present, residuals_, sums, b""))
            assert head == binary(told["head"])
    assert head == binary(vector["outcome"]["head"])


def test_sums_areThoseOfTheValues(vector: dict[str, Any]) -> None:
    """What the clients read from the sums of a closed iteration is what the nodes' values add up to."""
    declared = of(vector, "declare")
    places = {one["node"]: TreePlace(one["parent"], members(one["children"]), one["depth"]) for one in declared}
    books = {one["node"]: decode_book(binary(one["book"])) for one in declared}
    assembly = Assembly(frozenset(places), places, books, vector["steps"])
    values: dict[Block, Any] = {}
    closed = 0
    for call in vector["calls"]:
        for one in call.get("values", ()):
            block = Block(Kind[one["kind"]], one["node"])
            values[block] = values.get(block, 0) + np.array(one["values"])
        if "closed" in call:
            told = call["closed"]
            words = [number(word) for word in told["sums"]]
            sums = decode_sums(assembly, words, bitmap_to_nodes(told["present"]))
            assert all((sums[block] == values.get(block, 0)).all() for block in assembly.all_blocks)
            values, closed = {}, closed + 1
    assert closed == vector["outcome"]["iterations"]


def members(nodes: int) -> tuple[int, ...]:
    return tuple(sorted(bitmap_to_nodes(nodes)))


def test_statements_areThoseOfTheClients(vector: dict[str, Any]) -> None:
    for pair in vector.get("settlement", {}).get("pairs", ()):
        assert encode_trades([tuple(entry) for entry in pair["entries"]]) == binary(pair["trades"])
        read = [(one.step, one.energy_wh, one.price_micro) for one in decode_trades(binary(pair["trades"]))]
        assert read == [tuple(entry) for entry in pair["entries"]]


def test_deliveries_comeToWhatTheClientsSay(vector: dict[str, Any]) -> None:
    """With feed-in prices below and above the import price in turn."""
    if "settlement" not in vector:
        return
    settlement, vouched = vector["settlement"], vector["settlement"]["vouched"]
    records = [
        TradeRecord(1, pair["lower"], pair["higher"], pair["payment"], decode_trades(binary(pair["trades"])))
        for pair in settlement["pairs"]
    ]
    told = Told(records, binary(vouched["tariff"]))
    assert settlement["decimals"] == DECIMALS
    readings = {
        one["node"]: [wh for (wh,) in struct.iter_unpack(">i", binary(one["reading"]))] for one in vouched["delivered"]
    }
    assert {one.delivery.node: one.delivery.payment for one in comes_to(told, 1, readings)} == {
        one["node"]: one["payment"] for one in vouched["delivered"]
    }


def test_calls_comeToWhatTheClientsSay() -> None:
    """What a member is shown before a call is settled, of offers whose bonds are whole."""
    told = json.loads((VECTORS / "flexibility.json").read_text())
    readings = {(one["step"], one["node"]): one["energy"] for one in told["readings"]}
    bonds = {number: one["bond"] for number, one in enumerate(told["offers"], 1)}
    for number, one in enumerate(told["calls"], 1):
        energies, baselines = (decode_energies(binary(one[name])) for name in ("energies", "baselines"))
        assert encode_energies(energies) == binary(one["energies"])
        call = FlexibilityCall(
            number, one["offer"], 1, one["node"], one["first"], energies, baselines, one["reserve"], False
        )
        offer = told["offers"][one["offer"] - 1] | {"bond": bonds[one["offer"]]}
        renamed = {"up_w": "up", "down_w": "down", "energy_wh": "energy"}
        renamed |= {"tolerance_wh": "tolerance", "notice_seconds": "notice"}
        terms = OfferTerms(**{name: offer[renamed.get(name, name)] for name in OfferTerms.__dataclass_fields__})
        outcome = flexibility.comes_to(flexibility.delivered_steps(call, readings), terms, 10 ** told["decimals"])
        assert outcome == CallOutcome(one["payment"], one["delivered"], one["otherwise"], one["kept"])
        bonds[one["offer"]] += min(outcome.payment, 0)
    payments = [one["payment"] for one in told["calls"]]
    assert min(payments) < 0 < max(payments)
