"""What a contract answers, as web3 reads it."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import Web3
from web3.providers.base import BaseProvider

from gridpact.chain.artifacts import SETTLEMENT, load
from gridpact.chain.interface import Interface

ABI = load(SETTLEMENT).abi
ACCOUNT = "0x00000000000000000000000000000000000000A1"
ADDRESS = st.binary(min_size=20, max_size=20).map(lambda one: "0x" + one.hex())
VIEWS = {  # arguments, type of the answer, values
    "supplier": ([], "address", ADDRESS),
    "creditorsOf": ([ACCOUNT], "address[]", st.lists(ADDRESS, max_size=4)),
    "arrears": ([ACCOUNT], "uint256", st.integers(0, 2**256 - 1)),
}


class Saying(BaseProvider):
    """An endpoint that has one answer to every question."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = "0x" + answer.hex()

    def make_request(self, method: Any, params: Any) -> Any:
        return {"jsonrpc": "2.0", "id": 1, "result": self._answer}


@pytest.mark.parametrize("name", VIEWS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_answer_isThatOfWeb3(name: str, data: st.DataObject) -> None:
    arguments, kind, values = VIEWS[name]
    answer = encode([kind], [data.draw(values)])
    contract = Web3(Saying(answer)).eth.contract(Web3.to_checksum_address(ACCOUNT), abi=ABI)
    expected = contract.functions[name](*arguments).call({"gas": 10**6})
    told = Interface(ABI).answer(name, answer)
    assert (list(told) if kind == "address[]" else told) == expected
