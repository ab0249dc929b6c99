"""The day of a round, from the transaction that opened it, however the manager opened it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gridpact.chain.artifacts import AGGREGATOR, load
from gridpact.chain.calldata import Calldata
from gridpact.chain.interface import Interface

ADDRESS = "0x00000000000000000000000000000000000000A1"
DAY, PRODUCT = 20260301, 2
WAYS = {
    "openRound": (0, [DAY]),
    "replaceRound": (0, [DAY, 7]),
    "openRoundOf": (PRODUCT, [PRODUCT, DAY, 0]),
    "openRoundWithin": (PRODUCT, [PRODUCT, DAY, 7, 150]),
}


def reader(*called: tuple[str, str, list[int]], word: str = "input") -> Calldata:
    """Of a chain whose fourth block, at 400 s, has these transactions: to whom, function, arguments."""
    interface = Interface(load(AGGREGATOR).abi)
    sent = [{"to": to, word: interface.call(name, arguments)} for to, name, arguments in called]

    def block(number: int, full_transactions: bool = False) -> dict[str, Any]:
        return {"timestamp": 100 * number, "transactions": sent if number == 4 else []}

    web3 = SimpleNamespace(eth=SimpleNamespace(block_number=9, get_block=block))
    return Calldata(SimpleNamespace(web3=web3, interface=interface, address=ADDRESS))  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["input", "data"])
@pytest.mark.parametrize("way", WAYS)
def test_day_isThatOfTheCall(way: str, word: str) -> None:
    """Beside rounds of another product and another contract in the same block."""
    product, arguments = WAYS[way]
    others = [(ADDRESS, other, [*given]) for other, (of, given) in WAYS.items() if of != product]
    beside = [(to, name, [99 if one == DAY else one for one in given]) for to, name, given in others]
    elsewhere = ("0x00000000000000000000000000000000000000B2", way, arguments)
    found = reader(elsewhere, *beside, (ADDRESS, way, arguments), word=word)
    assert found.day_opened(400, 0, product) == DAY
    assert found.day_opened(500, 0, product) is None
    assert found.day_opened(400, 0, product + 3) is None
