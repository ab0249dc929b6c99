"""Green Button files: meter readings as North American utilities hand them out, in the XML of NAESB's ESPI standard.

A feed has blocks of intervals; a block belongs to a meter reading, and that to a reading type, which says what was
counted, which way it flowed, in which unit, and times which power of ten. Times are seconds since 1970, UTC.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from gridpact.errors import InputError

ELECTRICITY = {"0", "1", "2"}  # commodity: not applicable, secondary and primary metered
UNITS = {"72": "Wh", "38": "W"}  # uom
WAYS = {"1": "import", "19": "export"}  # flowDirection: forward, to the home; reverse
DELTA = {"", "0", "4", "6", "12"}  # accumulationBehaviour: all but states of a counter (1, 3, 9) and the like
HEADER = ("Start", "household", "Register", "Volume", "Unit")


def table_of(text: str, file: str) -> str | None:
    """The readings of electricity in a Green Button file, as a CSV table with a row for each; None: it is no XML.

    Raises:
        InputError: it is other XML, broken, or has readings whose direction or unit is not said.
    """
    if not text.lstrip("\ufeff \r\n\t").startswith("<"):
        return None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{file} is XML with a document type, which no Green Button file has; take it from its source")
    try:
        root = ElementTree.fromstring(text.lstrip("\ufeff \r\n\t"))
    except ElementTree.ParseError as error:
        raise InputError(f"{file} is no whole XML ({error}); export it anew") from None
    feed = _Feed.of(root)
    if not feed.blocks:
        raise InputError(
            f"{file} is XML without an IntervalBlock, so no Green Button file with readings; give a CSV table"
        )
    rows = [row for href, block in feed.blocks for row in _rows(feed, href, block, file)]
    if not rows:
        raise InputError(f"{file} has no readings of electricity")
    written = io.StringIO()
    several = len({row[1] for row in rows}) > 1
    kept = [k for k, name in enumerate(HEADER) if several or name != "household"]
    csv.writer(written).writerows([[row[k] for k in kept] for row in (HEADER, *rows)])
    return written.getvalue()


@dataclass(frozen=True)
class _Feed:
    """What the entries of a feed are, by their own address."""

    blocks: list[tuple[str, Element]]
    meters: Mapping[str, list[str]]  # of a meter reading, the addresses of what it is related to
    types: Mapping[str, Element]

    @staticmethod
    def of(root: Element) -> _Feed:
        blocks: list[tuple[str, Element]] = []
        meters: dict[str, list[str]] = {}
        types: dict[str, Element] = {}
        for entry in root.iter():
            if _name(entry) != "entry":
                continue
            links = [(one.get("rel", ""), one.get("href", "").rstrip("/")) for one in entry if _name(one) == "link"]
            own = next((href for rel, href in links if rel == "self"), "")
            for one in entry.iter():
                if _name(one) == "IntervalBlock":
                    blocks.append((own or next((href for rel, href in links if rel == "up"), ""), one))
                elif _name(one) == "MeterReading":
                    meters[own] = [href for rel, href in links if rel == "related"]
                elif _name(one) == "ReadingType":
                    types[own] = one
        return _Feed(blocks, meters, types)

    def type_of(self, href: str) -> Element | None:
        """Of a block: that of its meter reading, or the only one that there is."""
        meter = href.partition("/IntervalBlock")[0]
        types = [self.types[one] for one in self.meters.get(meter, ()) if one in self.types]
        if not types and len(self.types) == 1:
            types = list(self.types.values())
        return types[0] if types else None


def _rows(feed: _Feed, href: str, block: Element, file: str) -> Iterator[tuple[str, str, str, str, str]]:
    kind = feed.type_of(href)
    if kind is None:
        raise InputError(f"{file}: an IntervalBlock has no ReadingType, so neither unit nor direction; export it anew")
    if _text(kind, "commodity", "1") not in ELECTRICITY:
        return
    unit, way = UNITS.get(_text(kind, "uom")), WAYS.get(_text(kind, "flowDirection"))
    if unit is None:
        raise InputError(
            f"{file}: readings are in the unit {_text(kind, 'uom') or 'of none'} (uom), not Wh (72) or W (38)"
        )
    if way is None:
        raise InputError(
            f"{file}: readings have the flowDirection {_text(kind, 'flowDirection') or 'of none'}, and may be net; "
            "export import (1) and export (19) apart"
        )
    if _text(kind, "accumulationBehaviour") not in DELTA:
        raise InputError(f"{file}: readings are states of a counter (accumulationBehaviour); export intervals")
    scale = 10.0 ** int(_text(kind, "powerOfTenMultiplier", "0"))
    point = re.search(r"UsagePoint/([^/]+)", href)
    for reading in (one for one in block if _name(one) == "IntervalReading"):
        start = _text(reading, "start")
        try:
            at = datetime.fromtimestamp(int(start), timezone.utc)
            value = scale * float(_text(reading, "value"))
        except (ValueError, OverflowError, OSError):
            raise InputError(f"{file}: the IntervalReading that starts at '{start}' has no time or no value") from None
        yield f"{at:%Y-%m-%dT%H:%M:%S}Z", point[1] if point else "", way, f"{value:.6g}", unit


def _name(element: Element) -> str:
    """Without its namespace, which differs between utilities."""
    return str(element.tag).rpartition("}")[2]


def _text(element: Element, name: str, otherwise: str = "") -> str:
    """Of the first element of a name below."""
    text = next((one.text for one in element.iter() if _name(one) == name), None)
    return (text or "").strip() or otherwise
