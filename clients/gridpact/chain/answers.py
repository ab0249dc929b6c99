"""Whether what an endpoint answers is an answer: passing troubles of endpoints, told from what a chain means.

Hosted endpoints limit how often they are asked, in many forms (HTTP 429; an error with status 200 or 400), lose
requests (`null`, `false`, an internal error), or send a page of a gateway. Such a request is made again. What a
contract or a chain refuses is an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

LOGS = "eth_getLogs"

LIMIT_CODES = frozenset({429, -32005, -32007, -32016, -32029, -32097})
"""JSON-RPC errors that say that there were too many requests (Infura, QuickNode, Alchemy, Chainstack, dRPC)."""

LIMIT_WORDS = re.compile(
    r"\brate.?limit|request rate|call rate|\brate (was )?exceed|too many (request|call)|per second|\b[rc]ps\b"
    r"|request(s|\s+count)? (limit|exceeded|per )|(max(imum)?|number of) (requests|calls)"
    r"|(requests|calls|credits?) (left|remaining|used up|exhausted)|/\s*s(ec(ond)?)?\b"
    r"|(?<!gas )(?<!account )(?<!pool )(?<!size )(?<!block )\blimit (was |has been |is )?(exceeded|reached)"
    r"|(usage|plan|daily|monthly|hourly|free.tier) (limit|allowance)"
    r"|throughput|compute units|capacity|quota|credits|throttl|slow down|concurren",
    re.IGNORECASE,
)
RANGE_WORDS = re.compile(r"\brange|\bresults?\b|\bblocks?\b|too (large|wide|many logs)|response size", re.IGNORECASE)
"""What a limit on a piece of the log says, which may have a code of `LIMIT_CODES`, too."""

PASSING_WORDS = re.compile(
    r"internal (json-?rpc |server )?error|time[d ]?.?out|temporar|unavailable|try again|overload|busy|upstream"
    r"|bad gateway|connection (reset|refused|closed)|no (healthy )?(backend|upstream)",
    re.IGNORECASE,
)
PASSING_REPEATS, PASSING_LOG_REPEATS = 6, 2
"""How often a request is repeated that met an internal error; for a piece of the log, a smaller one helps sooner."""

BEHIND_WORDS = re.compile(
    r"header( for hash)? not found|unknown block|block( is)? not found|(could not|cannot|can't) find (the )?block"
    r"|missing trie node",
    re.IGNORECASE,
)
"""One of several nodes behind an address does not have the newest block yet; or the chain was taken back."""

BEHIND_REPEATS = 4

HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]*")

NUMBERS = frozenset(
    {
        *("eth_chainId", "eth_blockNumber", "eth_gasPrice", "eth_maxPriorityFeePerGas", "eth_estimateGas"),
        *("eth_getBalance", "eth_getTransactionCount"),
    }
)
BYTES = frozenset({"eth_call", "eth_getCode", "eth_sendRawTransaction"})
"""Methods that give a number, or bytes, and never null. A number has a digit."""


@dataclass(frozen=True)
class Trouble:
    """Why there is no answer."""

    words: str
    limited: bool = False  # too many requests
    pause: float = 0.0  # seconds to wait at least, as the endpoint asks
    repeats: int | None = None  # after so many the answer is taken as it is; None: it never is
    foreign: bool = False  # perhaps no node of a chain at all


def trouble_in(method: str, params: Any, answer: object) -> Trouble | None:
    """What keeps an answer from being one; None where it is one."""
    if not isinstance(answer, Mapping) or not ("result" in answer or answer.get("error")):
        return Trouble("it does not speak JSON-RPC", foreign=True)
    if error := answer.get("error"):
        return _in_error(method, error)
    return None if _is_sound(method, params, answer["result"]) else Trouble(f"it answers {shown(answer['result'])}")


def limit_of(status: int, retry_after: str | None) -> Trouble:
    """What HTTP 429 says, and 503 with the time to come back."""
    return Trouble(f"HTTP status {status}", limited=True, pause=seconds_of(retry_after))


def seconds_of(retry_after: str | None) -> float:
    """`Retry-After`: seconds, or a date; 0 where there is none."""
    text = (retry_after or "").strip()
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(text).timestamp() - time(), 0.0)
    except (TypeError, ValueError):
        return 0.0


def shown(value: object) -> str:
    """An answer, short."""
    return json.dumps(value, default=str)[:60]


def _in_error(method: str, error: object) -> Trouble | None:
    if not isinstance(error, Mapping):
        error = {"message": str(error)}
    code, words = error.get("code"), str(error.get("message", ""))
    if _is_revert(error, words):
        return None
    about_range = method == LOGS and RANGE_WORDS.search(words) is not None
    says_so = LIMIT_WORDS.search(words) is not None
    if not about_range and (says_so or (code in LIMIT_CODES and method != LOGS)):
        return Trouble(words or f"error {code}", limited=True, pause=_asked_pause(error))
    if method == LOGS:
        passing = not about_range and re.search("internal (json-?rpc |server )?error", words, re.I)
        return Trouble(words, repeats=PASSING_LOG_REPEATS) if passing else None
    if BEHIND_WORDS.search(words):
        return Trouble(words, repeats=BEHIND_REPEATS)
    if code == -32603 or PASSING_WORDS.search(words):
        return Trouble(words or f"error {code}", repeats=PASSING_REPEATS)
    return None


def _is_revert(error: Mapping[str, Any], words: str) -> bool:
    data = error.get("data")
    return "revert" in words.lower() or (isinstance(data, str) and "0x" in data) or error.get("code") == 3


def _asked_pause(error: Mapping[str, Any]) -> float:
    """Infura and others say in the error's data how long to wait."""
    data = error.get("data")
    if not isinstance(data, Mapping):
        return 0.0
    rate = data.get("rate")
    wait = data.get("try_again_in") or (rate.get("backoff_seconds") if isinstance(rate, Mapping) else None)
    pause = re.match(r"\s*([0-9.]+)\s*(ms|s)?", str(wait or ""))
    try:
        return float(pause[1]) * (0.001 if pause[2] == "ms" else 1.0) if pause else 0.0
    except ValueError:
        return 0.0


def _is_sound(method: str, params: Any, result: object) -> bool:
    """Whether a result is of the kind that the method gives."""
    if method in NUMBERS:
        return isinstance(result, str) and len(result) > 2 and HEXADECIMAL.fullmatch(result) is not None
    if method in BYTES:
        return isinstance(result, str) and HEXADECIMAL.fullmatch(result) is not None
    if method == LOGS:
        return isinstance(result, list) and all(isinstance(entry, Mapping) for entry in result)
    if method == "eth_getBlockByNumber" and params and params[0] in ("latest", "earliest", "0x0"):
        return isinstance(result, Mapping)
    if method in ("eth_getTransactionReceipt", "eth_getTransactionByHash", "eth_getBlockByNumber"):
        return result is None or isinstance(result, Mapping)
    return True
