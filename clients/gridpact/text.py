"""Texts for people: what users named made harmless, numbers with their nouns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

LEAST_SUM = 0.005
"""Currency: what is less rounds to 0.00."""


def plain(text: str, longest: int | None = None) -> str:
    """A name without line breaks and other control characters, cut where it is too long."""
    clean = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)
    return clean if longest is None or len(clean) <= longest else clean[: longest - 1] + "…"


def count(number: int, noun: str) -> str:
    """`3 households`, `1 household`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[object], most: int = 12) -> str:
    """`a, b, c`; of more than so many the first, and how many more there are."""
    shown = ", ".join(map(str, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def share(part: float, whole: float) -> float | None:
    """Which part of a sum of money another one is, a fraction of its size; None where the sum is printed as 0.00, as
    nothing is a part of that."""
    return part / abs(whole) if abs(whole) >= LEAST_SUM else None


def chain_text(chain: str) -> str:
    """A chain without what may be secret in its address: user, password, and a key in the path."""
    first, *others = chain.split(",")
    chain = plain(first, 120)
    if "://" not in chain:
        return chain
    scheme, rest = chain.split("://", 1)
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    more = f" and {len(others)} more" if others else ""
    return f"{scheme}://{host.rsplit('@', 1)[-1]}{more}"
