"""Whatever a day refuses it refuses in one sentence, which says what, with its numbers, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector

from gridpact.chain.artifacts import DAY, PRODUCTS, load
from gridpact.chain.day import DaySettlement
from gridpact.chain.reverts import contract_error, learn_errors
from gridpact.errors import ContractError, InputError

OF_LIBRARIES = {
    *("ReentrancyGuardReentrantCall", "SafeCastOverflowedIntDowncast", "SafeCastOverflowedUintDowncast"),
    *("SafeERC20FailedOperation", "TooManyDecimals", "DepositsTooLarge"),
}
"""Which nobody brings about who gives what cannot be."""

ERRORS: dict[str, Any] = {
    entry["name"]: entry for name in (DAY, PRODUCTS) for entry in load(name).abi if entry["type"] == "error"
}
SAMPLES = {"string": "start", "address": "0x" + "11" * 20, "bytes32": b"\x22" * 32}


def refused(name: str, *given: object) -> ContractError:
    """What is said of a revert with this error."""
    entry = ERRORS[name]
    types = [collapse_if_tuple(item) for item in entry["inputs"]]
    values = given or tuple(SAMPLES.get(one, 7) for one in types)
    learn_errors([entry])
    return contract_error("`call`", function_abi_to_4byte_selector(entry) + encode(types, values))


@pytest.mark.parametrize("name", sorted(ERRORS.keys() - OF_LIBRARIES))
def test_error_isOneSentence_withAdvice(name: str) -> None:
    error = refused(name)
    told = str(error)
    assert error.name == name
    assert told.startswith(f"The contract refused `call` with {name}(")
    assert told.count("\n") == 0
    assert told.endswith(".")
    assert "): " in told, "nothing says what to do"


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("CollateralTooSmall", (80_001, 0), "least 80001, given 0): lock what covers the energy"),
        ("GateClosed", (610, 3, 1_750_000_000), "day 610, step 3, gate 1750000000): positions and nominations"),
        ("ReadTwice", (610, 3, 2), "day 610, step 3, node 2): the first reading counts"),
        ("UntilOver", (1_750_000_000,), "until 1750000000): let the offer end later than now"),
        ("OfferEnded", (4, 1_750_000_000), "id 4, until 1750000000): it can no longer be taken"),
        ("SharesDoNotSumToOne", (900_000_000,), "sum 900000000): give shares that sum to"),
        ("LengthMismatch", (96, 92), "expected 96, actual 92): give as many values as there are steps"),
    ],
)
def test_badInput_isNamed(name: str, values: tuple[int, ...], says: str) -> None:
    assert says in str(refused(name, *values))


@pytest.mark.parametrize(
    ("first", "energies", "says"),
    [
        (9, [], "begins at step 9, the day has 0 to 3: give"),
        (-1, [0] * 5, "begins at step -1, the day has 0 to 3: give"),
        (1, [0] * 2, "from step 1 on has 2 energies, but 3 steps are left of the day: give"),
    ],
)
def test_nomination_ofOtherSteps_isRefusedBeforeItIsSent(first: int, energies: list[int], says: str) -> None:
    ledger = object.__new__(DaySettlement)
    ledger.__dict__["steps"] = 4  # as it would be read
    with pytest.raises(InputError, match=says):
        ledger.nominate(610, first, energies)
