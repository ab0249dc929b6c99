"""Numbers as people's tables write them: decimal commas or points, thousands marks, words for what is missing.

Whether a comma or a point is the decimal mark is decided by a whole column, and where that shows nothing, by the table;
`1.055` on its own is 1055 or 1.055, and is asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gridpact.errors import InputError

GAP_WORDS = frozenset((
    "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "\u2026", "?", "n/a", "na", "n.a.", "n.a", "#n/a", "#na",
    "#nv", "nv", "nan", "null", "none", "nil", "nul", "undefined", "unavailable", "unknown", "missing", "inconnu",
    "unbekannt", "onbekend", "(null)", "<na>", "n/e", "n/d", "nd", "k.a.",
))  # fmt: skip
"""What files have where a reading is missing, beside nothing, in lower case."""

NUMBER = re.compile(r"([+\-\u2212]?)([0-9.,' \u2019\u00a0\u202f\u2009\u2007]*[0-9][0-9.,]*)([eE][+-]?[0-9]+)?")
GROUPED = re.compile(r"[1-9][0-9]{0,2}([.,' \u2019\u00a0\u202f\u2009\u2007])[0-9]{3}(?:\1[0-9]{3})*")
PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
NOT_FINITE = frozenset(sign + word for sign in ("", "+", "-") for word in ("nan", "inf", "infinity"))
LEAST_BESIDE_THOUSANDS = 100.0
"""Numbers of a thousand and more are believed only beside some in the hundreds."""


class Cell(Protocol):
    """A row, as far as its numbers are concerned."""

    @property
    def number(self) -> int: ...
    @property
    def cells(self) -> dict[str, str]: ...
    def error(self, column: str, complaint: str) -> InputError: ...


def is_gap(cell: str) -> bool:
    """Whether a cell is empty, or has a word for a value that is missing."""
    cell = cell.strip()
    return not cell or cell.lower() in GAP_WORDS


def value_of(cell: str, decimal: str) -> float | None:
    """The number that a text is with a decimal mark, None where it is none with it."""
    parts = NUMBER.fullmatch(cell.strip())
    if not parts:
        return None
    sign, body, exponent = parts[1].replace("\u2212", "-"), parts[2].strip(), parts[3] or ""
    whole, _, part = body.partition(decimal)
    if part and not part.isdecimal():
        return None
    if not whole.isdecimal() and not (not whole and part):
        groups = GROUPED.fullmatch(whole)
        if not groups or groups[1] == decimal or exponent:
            return None
        whole = whole.replace(groups[1], "")
    return float(f"{sign}{whole or 0}.{part or 0}{exponent}")


def is_doubtful(cell: str) -> bool:
    """Whether a text is one number with decimal points and another one with decimal commas."""
    if not GROUPED.fullmatch(cell.lstrip("+-\u2212")):
        return False
    point, comma = (value_of(cell, mark) for mark in ".,")
    return point is not None and comma is not None and point != comma


@dataclass
class Marks:
    """The decimal mark of each column of a table.

    Args:
        given: what the mark is, "." or ",", if that is known.
        between_commas: whether commas are between the columns, so that a point is the likely mark.
        may_group: whether there may be marks between thousands.
    """

    given: str | None = "."
    between_commas: bool = True
    may_group: bool = False
    _table: Sequence[Cell] = field(default=(), repr=False)
    _of_column: dict[str, str] = field(default_factory=dict, repr=False)
    _most_of_column: dict[str, float] = field(default_factory=dict, repr=False)

    def look_at(self, table: Sequence[Cell]) -> None:
        """The rows that the marks are decided by."""
        self._table = table

    def number(self, row: Cell, column: str, cell: str) -> float:
        """The number in a cell, perhaps not a finite one.

        Raises:
            InputError: it is none, or one of two.
        """
        if cell.lower() in NOT_FINITE:
            return float(cell)
        mark = self.given or self._decided(column)
        if mark == "." and PLAIN.fullmatch(cell):
            return float(cell)
        value = value_of(cell, mark)
        if value is None or (not self.may_group and mark == "."):
            raise row.error(column, f"'{cell}' is not a number")
        is_thousands = self.given is None and mark not in cell and is_doubtful(cell)
        if is_thousands and self._most(column) < LEAST_BESIDE_THOUSANDS:
            raise _either(row, column, cell)
        return value

    def _decided(self, column: str) -> str:
        if column not in self._of_column:
            self._of_column[column] = self._decide(column)
        return self._of_column[column]

    def _decide(self, column: str) -> str:
        certain, doubtful = self._evidence(column)
        if len(certain) == 2:
            early, late = sorted(certain.values(), key=lambda row: row.number)
            raise late.error(
                column,
                f"'{late.cells[column].strip()}' has another decimal mark than '{early.cells[column].strip()}' in row "
                f"{early.number}; write all numbers alike",
            )
        if certain:
            return next(iter(certain))
        if not doubtful:
            return "."
        row = doubtful[0]
        kinds = {mark for one in doubtful for mark in ".," if mark in one.cells[column]}
        elsewhere = {mark for name in row.cells if name != column for mark in self._evidence(name)[0]}
        if len(elsewhere) == 1:
            (likely,) = elsewhere
        elif self.between_commas and not elsewhere:
            likely = "."
        else:
            raise _either(row, column, row.cells[column].strip())
        if len(kinds) > 1 or (kinds == {likely} and self._has_integers(column)):
            raise _either(row, column, row.cells[column].strip())
        return likely

    def _evidence(self, column: str) -> tuple[dict[str, Cell], list[Cell]]:
        """Decimal marks that a column shows for certain, with the first row of each; rows that are doubtful."""
        certain: dict[str, Cell] = {}
        doubtful: list[Cell] = []
        for row, cell in self._cells(column):
            points, commas = cell.count("."), cell.count(",")
            if not points + commas or (points + commas == 1 and ("." if points else ",") in certain):
                continue  # it can show no other mark
            ways = [mark for mark in ".," if value_of(cell, mark) is not None]
            if len(ways) == 1:
                certain.setdefault(ways[0], row)
            elif ways:
                doubtful.append(row)
        return certain, doubtful

    def _has_integers(self, column: str) -> bool:
        """Whether a column has whole numbers beside those with a mark, which one with decimals would not have."""
        return any(cell.lstrip("+-").isdecimal() and float(cell) != 0 for _, cell in self._cells(column))

    def _most(self, column: str) -> float:
        """The largest number of a column that has no doubtful mark."""
        if column not in self._most_of_column:
            mark = self._decided(column)
            self._most_of_column[column] = max(
                (
                    abs(value)
                    for _, cell in self._cells(column)
                    if not is_doubtful(cell) and (value := value_of(cell, mark)) is not None
                ),
                default=0.0,
            )
        return self._most_of_column[column]

    def _cells(self, column: str) -> Iterator[tuple[Cell, str]]:
        for row in self._table:
            if cell := row.cells.get(column, "").strip():
                yield row, cell


def _either(row: Cell, column: str, cell: str) -> InputError:
    readings = {mark: value_of(cell, mark) for mark in ".,"}
    return row.error(
        column,
        f"'{cell}' is {readings['.']:g} or {readings[',']:g}; say which mark the decimals have with --decimal point or "
        "--decimal comma, or write it without marks between thousands",
    )
