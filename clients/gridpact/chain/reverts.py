"""What a node says when it refuses, in one sentence: custom errors by name and values, on all chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector
from web3.exceptions import BadFunctionCallOutput, ContractLogicError, Web3Exception, Web3RPCError

from gridpact.errors import ChainError, ContractError, Reorganised

Abi = Sequence[Mapping[str, Any]]

_KNOWN: dict[bytes, Mapping[str, Any]] = {}
"""Custom errors of all ABIs seen, by selector: a call may revert with an error of another contract."""

_HINTS = {
    "NotEnrolled": "ask the community manager to enrol this account, or use the key of an enrolled one",
    "NobodyEnrolled": "enrol nodes first",
    "EnrolmentFull": "expel a node first, or deploy for a larger n",
    "RoundsRun": "wait until the running rounds have ended",
    "ProductTooLarge": "with so many nodes and steps only rounds of product 0 fit into transactions: deploy for fewer",
    "WrongPhase": "look at the progress of the round before this step",
    "TooLarge": "plan fewer steps, or share the households out over several deployments",
    "DayAgreed": "replace the day on purpose, before anything of it is settled, or plan another",
    "TooManyBids": "declare no more bids than the book has partners and steps, and fewer partners or steps",
    "WrongRound": "read the current round from the chain",
    "WrongIteration": "read the current iteration from the chain",
    "WrongHistory": "the chain was taken back, so read the round again",
    "NotInRound": "wait for the next round",
    "WrongSignature": "sign with the key of the account that declared as this node",
    "DeadlineNotPassed": "wait for the deadline",
    "NotProved": "accuse only of what the evidence proves",
    "CannotAsk": "ask in a sealed round, about an iteration before the last closed one, once, and three times in all",
    "NotAsked": "answer once, and what was asked",
    "StillTime": "a node has two iterations to answer",
    "TopologyMismatch": "make parent and children agree on the line between them",
    "InsufficientDeposit": "deposit more tokens",
    "ERC20InsufficientBalance": "get more tokens first",
    "ERC20InsufficientAllowance": "approve the amount first",
    "OwnableUnauthorizedAccount": "use the key of the community manager",
    "NotConverged": "settle rounds that converged only",
    "NotFinished": "wait for the end of the round",
    "InvalidPartner": "settle with nodes that were in the round until its end",
    "InvalidTrades": "give an entry of 9 bytes a step, steps ascending",
    "DoesNotFitBids": "state the energies that follow from the last bids of both",
    "WrongOpening": "open the node's last submission of the round, with its book",
    "AlreadyRecorded": "nothing is left to do for this pair",
    "AlreadyDelivered": "a node's round is over once its reading is settled",
    "NothingLocked": "there is nothing to release",
    "LockedUntil": "wait for the deadline, or take the statement back",
    "ReceivedOtherAmount": "use a token that delivers exactly what is sent",
    "NotSupplied": "wait until it has published its tariff for the day",
    "SuppliesAlready": "its tariff of the day stands",
    "NotSupplier": "use the key of the supplier, whom the metering account has admitted if it is not the community's",
    "NotWished": "let the household ask for this supplier first",
    "NotManager": "use the key of the community manager, or of the metering account",
    "NotCustomer": "name an account that is a customer in the next round",
    "AdmittedBefore": "take another account: who supplies, or was dismissed, is not admitted again",
    "TooManySuppliers": "take one of the suppliers that there are",
    "InArrears": "pay what is owed first: who supplies others owes nothing",
    "SupplierOwesNothing": "deposit what this costs: who supplies others owes nothing",
    "NotDelivered": "deliver a reading before it is corrected",
    "NotConcerned": "use the key of the household or of the supplier",
    "OtherRoundOfDay": "settle the round that counts for the day",
    "TariffTooLate": "publish the tariff before the first node declares",
    "TariffPublishedAlready": "a round has one tariff",
    "FeeBelowZero": "let fees be at least 0",
    "WrongTariff": "give the tariff that the supplier published for the round, if it did",
    "WrongReading": "take a reading that the metering account signed for this round, node, contract and chain",
    "NotMember": "join the day before the gate of its first step closes",
    "NotSignedBy": "take what that account signed for this day, step, contract and chain",
    "SharesDoNotSumToOne": "give shares that sum to 10^9",
    "DayOpenedAlready": "a day is opened once",
    "InvalidTerms": "open the day with terms that can be: before its first gate, and within a day's length",
    "NoSuchDay": "open the day first, or take its label",
    "NoSuchStep": "count the steps of the day from 0",
    "JoinedAlready": "a place, and an account, is in a day once",
    "LengthMismatch": "give as many values as there are steps, or nodes",
    "ClosedAlready": "what the day came to stands",
    "NotProducts": "only spot, forwards and options move what is others'",
    "OtherTerms": "read the terms that stand, and join on them",
    "LockTooSmall": "lock at least what the terms ask for",
    "GateClosed": "positions and nominations of this step stand, and nobody joins after the first gate",
    "RoundOfOther": "bring rounds of this day that were agreed, in which the household was the same node",
    "NotRecorded": "bring what both sides have stated",
    "BroughtAlready": "these trades count already",
    "NoEnergy": "give at least 1 Wh",
    "TooMuchEnergy": "take no more than is left",
    "NotOpen": "it was taken, or has ended",
    "OwnOffer": "leave it to others, or end it",
    "InvalidFormula": "give a floor, a base and a cap in this order",
    "CollateralTooSmall": "lock what covers the energy: the dearer of import and feed-in price, and the adder",
    "UntilAfterGate": "let the offer end before the gate of its step closes",
    "UntilOver": "let the offer end later than now",
    "OfferEnded": "it can no longer be taken",
    "NotYours": "only its owner may before its time is over",
    "ReportTooEarly": "report when the step has begun",
    "ReportTooLate": "the base price holds",
    "ReportedAlready": "the first report counts",
    "NotReported": "wait for the report, or until it is too late for one",
    "StepNotOver": "wait for the end of the step",
    "StepSettledAlready": "what it came to stands",
    "ReadTwice": "the first reading counts",
    "ReadingsAwaited": "read all members, or wait until readings are no longer waited for",
    "StepsLeft": "settle all steps before the day is closed, and no more than there are",
    "InvalidOffer": "name an aggregator, a span that is not over, a power and an energy",
    "DeviceOffered": "end that offer first, or wait until its span is over",
    "NoSuchOffer": "offers are numbered from 1 on",
    "OfferOver": "its member has ended it",
    "NotAggregator": "use the key of the account that the offer names",
    "NotOwner": "only its member may before its span is over",
    "InvalidCall": "give an energy and a baseline for each step, within the day",
    "CallTooLate": "call before the notice that the offer asks for, or for later steps",
    "OutsideSpan": "call for steps within the offer's span",
    "CalledAlready": "a member is called once in a step, as its one meter tells of one call",
    "BeyondPower": "call for no more than the offer has, in Wh of a step",
    "BeyondEnergy": "call for no more in a day than the offer has",
    "NotNominated": "let the member nominate what it is going to draw first, and anew where its position has changed",
    "OtherBaseline": "the member has nominated otherwise meanwhile, so read its baseline again",
    "NoSuchCall": "calls are numbered from 1 on",
    "CallSettledAlready": "what it came to stands",
    "StepsAwaited": "settle the steps of the day first",
    "WrongPositions": "give all recorded trades of the node, partners ascending",
}

_PANICS = {
    0x01: "assertion",
    0x11: "overflow",
    0x12: "division by zero",
    0x21: "enum",
    0x32: "index out of bounds",
}

_TAKEN_BACK = ("blockoutofrange", "block height is", "header not found", "unknown block")
"""How chains say that the newest block, which a request is about, has gone meanwhile."""

_PHASES = ("None", "Declaring", "Iterating", "Converged", "Exhausted", "Abandoned")


def learn_errors(abi: Abi) -> None:
    """Remembers the custom errors of a contract."""
    for entry in abi:
        if entry["type"] == "error":
            _KNOWN[function_abi_to_4byte_selector(entry)] = entry  # type: ignore[arg-type]


def contract_error(what: str, data: bytes) -> ContractError:
    """The error that a revert with `data` means; `what` names the call."""
    name, values, text = _read(data)
    hint = f": {_HINTS[name]}." if name in _HINTS else "."
    return ContractError(f"The contract refused {what} with {text}{hint}", name, values)


def reason(data: bytes) -> str:
    """The error that a revert with `data` means, in short."""
    _, _, text = _read(data)
    return text


def _read(data: bytes) -> tuple[str, tuple[object, ...], str]:
    selector, body = data[:4], data[4:]
    try:
        if selector == bytes.fromhex("08c379a0"):
            (message,) = decode(["string"], body)
            return "Error", (message,), f"'{message}'"
        if selector == bytes.fromhex("4e487b71"):
            (code,) = decode(["uint256"], body)
            return "Panic", (code,), f"panic {code:#04x} ({_PANICS.get(code, 'see the Solidity manual')})"
        if selector in _KNOWN:
            entry = _KNOWN[selector]
            inputs = entry.get("inputs", ())
            values = decode([collapse_if_tuple(item) for item in inputs], body)
            shown = ", ".join(
                f"{item['name'] or 'value'} {_show(item, value)}" for item, value in zip(inputs, values, strict=True)
            )
            return entry["name"], tuple(values), f"{entry['name']}({shown})"
    except DecodingError:
        pass
    if not data:
        return "", (), "no reason given"
    return "", (), f"an error that is not in its ABI (0x{data[:36].hex()})"


def _show(item: Mapping[str, Any], value: object) -> str:
    if item.get("internalType", "").endswith("Phase") and isinstance(value, int) and value < len(_PHASES):
        return _PHASES[value]
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def revert_data(error: BaseException) -> bytes | None:
    """The bytes of the revert that an exception of web3 reports; None where it reports none."""
    if isinstance(error, Web3RPCError):
        response = error.rpc_response or {}
        payload: Any = response.get("error") or {}
        data = _find_hex(payload.get("data") if isinstance(payload, dict) else None)
        if data is None and is_revert_message(str(error)):
            return b""
        return data
    if isinstance(error, ContractLogicError):
        return _find_hex(error.data) or b""
    return None


def _find_hex(data: Any) -> bytes | None:
    """Most nodes put the bytes into `data`, some after a word; Ganache also into `data.result`."""
    if isinstance(data, Mapping):
        for key in ("result", "data", "return"):
            data_below = _find_hex(data.get(key))
            if data_below is not None:
                return data_below
        return None
    if isinstance(data, str):
        text = data.rpartition(" ")[2]
        if text.startswith("0x"):
            try:
                return bytes.fromhex(text[2:])
            except ValueError:
                return None
    return None


def is_revert_message(message: str) -> bool:
    """Whether a node's message tells of a revert."""
    lowered = message.lower()
    return "revert" in lowered


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turns what web3 raises during `what` into the error tree."""
    try:
        yield
    except BadFunctionCallOutput as error:
        raise ChainError(
            f"The contract's answer to {what} does not fit its ABI: check the address, the ABI and the chain."
        ) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ChainError(
            f"The endpoint's answer to {what} lacks something that an Ethereum node sends ({type(error).__name__}:"
            f" {first_line(error)}): give another endpoint."
        ) from error
    except (Web3Exception, ValueError) as error:
        data = revert_data(error)
        if data is not None:
            raise contract_error(what, data) from error
        reason = first_line(error)
        if was_taken_back(error):
            raise Reorganised(f"The chain was taken back during {what}: {reason}.") from error
        raise ChainError(f"The chain refused {what}: {reason}.") from error


def was_taken_back(error: BaseException) -> bool:
    """Whether a node says that a block, which was there, is not any longer."""
    message = first_line(error).lower()
    return any(words in message for words in _TAKEN_BACK)


def first_line(error: BaseException) -> str:
    """The node's own words, short: its message without a stack."""
    message = str(error)
    if isinstance(error, Web3RPCError):
        response: Any = error.rpc_response or {}
        payload = response.get("error")
        if isinstance(payload, dict) and payload.get("message"):
            message = str(payload["message"])
    return message.strip().split("\n")[0].rstrip(".")[:200]
