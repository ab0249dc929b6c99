"""What the columns of a file are: households, quantities of one of them, or readings with names beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gridpact.community import columns
from gridpact.community.columns import QUANTITIES, UNITS, WRITTEN, TableColumn
from gridpact.community.numerals import value_of
from gridpact.community.readings.source import HowToRead, ReadFiles, quoted
from gridpact.community.tables import Row, Table
from gridpact.errors import InputError

BESIDE_NUMBER = re.compile(r"[^\w.,\s+-]?\s*[+-]?[0-9][0-9.,]*\s*[^0-9\s:/-]{1,4}|[^\w.,\s+-]\s*[+-]?[0-9][0-9.,]*")
"""0.25 kWh, 0.25*, ~0.25: a number, and not a date, a clock or a word of a sentence."""


@dataclass(frozen=True)
class FileLayout:
    """How readings are found in a row."""

    taken: str
    fixed: tuple[TableColumn, ...]
    key: str | None = None  # the column of households
    register: str | None = None
    unit: str | None = None
    by_register: Mapping[str, str] = field(default_factory=dict)  # quantity, empty: not looked at

    def of_row(self, row: Row) -> Iterator[tuple[TableColumn, str, str | None]]:
        """Columns with readings, the register of each, and its unit where a column tells it."""
        for column in self.fixed:
            quantity, register = column.quantity, column.name if columns.is_tariff(column.name) else ""
            unit = None
            if self.register is not None:
                register = row.text(self.register)
                quantity = self.by_register[register]
                if not quantity:
                    continue
                unit = columns.unit_behind(register)[1]
            if self.unit is not None and not row.is_gap(column.name):
                unit = row.text(self.unit).lower()
                if unit not in UNITS:
                    raise row.error(self.unit, f"'{row.text(self.unit)}' is no unit of {', '.join(WRITTEN.values())}")
            household = column.household if self.key is None else row.text(self.key)
            yield TableColumn(column.name, household, quantity, column.unit), register, unit


def layout_of(files: ReadFiles, path: Path, table: Table, left: Sequence[str], is_pv: bool) -> FileLayout:
    how = files.how
    texts = [name for name in left if columns.quantity_of(name) is None and _is_text(table, name)]
    for name in texts:
        if name not in columns.role(left, columns.HOUSEHOLDS):
            _check_text(table, name)
    texts += [name for name in left if name not in texts and name not in files.only and columns.has_other_unit(name)]
    numbers = [name for name in left if name not in texts]
    if not numbers:
        what = "energies or powers" if any(map(columns.has_other_unit, left)) else "numbers"
        raise InputError(f"{path.name} has no column with {what} beside its times; its columns are {quoted(left)}")
    filled = [name for name in numbers if not all(row.is_gap(name) for row in table.rows)]
    if how.value_column is not None:
        if how.value_column not in left:
            raise InputError(f"{path.name} has no column '{how.value_column}'; it has {quoted(left)}")
        _check_known(path, how.value_column)
        if columns.has_other_unit(how.value_column):
            raise InputError(
                f"{path.name}: column '{how.value_column}' has neither energies nor powers by its name; name "
                "another with --value-column, or correct its name"
            )
        quantity = columns.quantity_of(how.value_column) or ("load", columns.unit_behind(how.value_column)[1])
        return _rows_of_readings(files, path, table, left, {how.value_column: quantity}, is_pv)
    named = {name: of for name in numbers if (of := columns.quantity_of(name)) and name not in files.only}
    for name in numbers:
        if name not in files.only:
            _check_known(path, name)
    if named:
        whole = {"load", "pv"} <= {quantity for quantity, _ in named.values()}
        beside = [name for name in numbers if name not in named and name not in files.only
                  and (columns.is_of_money(name) or (whole and columns.is_hardly_used(name)))]  # fmt: skip
        numbers, filled = ([name for name in of if name not in beside] for of in (numbers, filled))
    facts = columns.role(left, columns.HOUSEHOLDS | columns.REGISTERS | columns.UNIT_COLUMNS)
    others = [name for name in filled if name not in named and name not in facts]
    if "household" in left:
        if others:
            raise InputError(
                f"{path.name}: column '{others[0]}' is not known; besides time and household there are "
                f"{', '.join(QUANTITIES)}, each with its unit, for example import_kwh; units are {', '.join(UNITS)}"
            )
        return _rows_of_readings(files, path, table, left, named, is_pv)
    if named and not others:
        return _rows_of_readings(files, path, table, left, named, is_pv)
    if named:
        raise InputError(
            f"{path.name}: '{next(iter(named))}' is named like a quantity, {quoted(others[:3])} like a household: "
            "say which column has the readings of one household with --value-column, which are households with --only, "
            "or what to leave out with --ignore"
        )
    return _columns_of_households(files, path, table, numbers, texts, is_pv)


def _check_known(path: Path, name: str) -> None:
    """
    Raises:
        InputError: a column has a unit of energy or power that is not known.
    """
    if (unit := columns.unknown_unit(name)) is not None:
        raise InputError(
            f"{path.name}: the unit '{unit}' of column '{name}' is not known; give one of "
            f"{', '.join(WRITTEN.values())}, "
            f'leave it out with --ignore "{name}", or name the households with --only'
        )


def _is_text(table: Table, name: str) -> bool:
    """Whether a column has texts and no number at all."""
    cells = [row.cells[name].strip() for row in table.rows if not row.is_gap(name)]
    return bool(cells) and all(value_of(cell, ".") is None and value_of(cell, ",") is None for cell in cells)


def _check_text(table: Table, name: str) -> None:
    """
    Raises:
        InputError: all texts of a column are numbers with something behind them, as 0.25 kWh: readings, perhaps.
    """
    rows = [row for row in table.rows if not row.is_gap(name)]
    beside = {re.sub(r"[+-]?[0-9][0-9.,]*", "", row.cells[name]).strip() for row in rows}
    if columns.is_of_money(name) and all(columns.has_other_unit(f"({one})") for one in beside):
        return
    if all(BESIDE_NUMBER.fullmatch(row.cells[name].strip()) for row in rows):
        raise rows[0].error(
            name,
            f"'{rows[0].cells[name].strip()}' is a number with something beside it; write the number only and the unit "
            f'into the header, or leave the column out with --ignore "{name}"',
        )


def _columns_of_households(
    files: ReadFiles, path: Path, table: Table, numbers: Sequence[str], texts: Sequence[str], is_pv: bool
) -> FileLayout:
    how, only = files.how, files.only
    if how.household is not None:
        if len(numbers) != 1:
            raise InputError(f"{path.name} has columns {quoted(numbers)}, so --household cannot say whose all of it is")
        given = [TableColumn(numbers[0], how.household, "pv" if is_pv else "load", columns.unit_behind(numbers[0])[1])]
    else:
        given = [_column(name, only) for name in numbers]
    if is_pv:
        given = [
            replace(one, household=one.household if one.quantity == "pv" else one.name, quantity="pv") for one in given
        ]
    if only:
        if not is_pv:
            files.names.update({one.household: path.name for one in given if one.household not in files.names})
        given = [one for one in given if one.household in only]
    for one in given:
        _check_unit(path, how, one)
        if one.household not in only and one.name not in only and how.household is None and not is_pv:
            _check_household(path, one, given)
    keys = [(one.household, one.quantity) for one in given]
    for one in given:
        if keys.count((one.household, one.quantity)) > 1:
            alike = [other.name for other, key in zip(given, keys, strict=True) if key == (one.household, one.quantity)]
            raise InputError(
                f"{path.name}: columns {quoted(alike)} are all {one.quantity} of '{one.household}'; leave out all but "
                "one with --ignore"
            )
    renamed = {one.name: _words(one) for one in given if one.name != one.household and not is_pv}
    taken = [columns.listed_columns(renamed)] if renamed else []
    if texts:
        taken.append(f"not looked at: {quoted(texts)}")
    return FileLayout("; ".join(taken), tuple(given))


def _column(name: str, only: Sequence[str]) -> TableColumn:
    return TableColumn(name, name, "load", None) if name in only else columns.household_column(name)


def _words(column: TableColumn) -> str:
    what = {"pv": "PV output", "load": "load"}.get(column.quantity, column.quantity)
    return f"{what} of '{column.household}'" + (f" in {WRITTEN[column.unit]}" if column.unit else "")


def _check_household(path: Path, column: TableColumn, given: Sequence[TableColumn]) -> None:
    """
    Raises:
        InputError: a column is perhaps not what it is taken for.
    """
    how = (
        f'leave it out with --ignore "{column.name}", or name the households with --only, or, in a file of one '
        "household, its readings with --value-column"
    )
    if columns.is_no_household(column.household):
        raise InputError(f"{path.name}: column '{column.name}' looks like that of no household; {how}")
    consumers = {one.household for one in given if one.quantity in ("load", "import")}
    if column.quantity not in ("load", "import") and column.household not in consumers:
        raise InputError(
            f"{path.name}: column '{column.name}' looks like {column.quantity} of '{column.household}', which has no "
            f"load there; {how}"
        )
    if column.quantity == "load" and columns.is_hardly_used(column.household):
        raise InputError(
            f"{path.name}: column '{column.name}' is hardly what a household uses; call it pv, import or export with "
            f"its unit if the file is of one household; {how}"
        )
    for one in given:
        rest = column.household.removeprefix(one.household)
        if one.household != column.household and rest != column.household and re.match(r"[\s_.-]+[^\W\d]{2}", rest):
            raise InputError(
                f"{path.name}: column '{column.name}' looks like a part of '{one.household}', not a household; {how}"
            )


def _rows_of_readings(
    files: ReadFiles,
    path: Path,
    table: Table,
    left: Sequence[str],
    named: Mapping[str, tuple[str, str | None]],
    is_pv: bool,
) -> FileLayout:
    """A row for each reading, or for those of one household at one time."""
    how = files.how
    if is_pv:
        raise InputError(
            f"{path.name} has a row for each reading: give its PV output there, as pv_kwh, not by --pv, for which each "
            "household needs a column"
        )
    if {"load", "pv", "import"} <= {quantity for quantity, _ in named.values()}:  # what the first two tell suffices
        named = {name: of for name, of in named.items() if of[0] in ("load", "pv")}
    quantities = [quantity for quantity, _ in named.values()]
    perhaps = columns.role(left, columns.PERHAPS_REGISTERS)
    registers = columns.role(left, columns.REGISTERS)
    registers += [name for name in perhaps if columns.register_quantity(table.rows[0].cells[name])]
    register = registers[0] if registers and len(named) == 1 else None
    unit = next(iter(columns.role(left, columns.UNIT_COLUMNS)), None)
    for quantity in quantities:
        alike = [name for name, (other, _) in named.items() if other == quantity]
        if len(alike) > 1 and not all(map(columns.is_tariff, alike)):
            raise InputError(
                f"{path.name}: '{quantity}' stands in two columns, {quoted(alike)}; remove one, or name the one to "
                "take with --value-column"
            )
    if "load" in quantities and "import" in quantities:
        raise InputError(f"{path.name}: has load and import; give load and pv, or import, export and pv")
    if not {"load", "import"} & set(quantities) and register is None:
        raise InputError(f"{path.name}: there is no load and no import; give load_kwh, or import_kwh and export_kwh")
    key, name = _household_of(files, path, table, left)
    given = [TableColumn(column, name, quantity, of) for column, (quantity, of) in named.items()]
    for one in given:
        _check_unit(path, how, one)
    by_register, words = _registers(path, table, register) if register is not None else ({}, {})
    taken = [columns.listed_columns({one.name: _words(one) if key is None else one.quantity for one in given})]
    documented = all(re.fullmatch(rf"({'|'.join(QUANTITIES)})_({'|'.join(UNITS)})", one.name.lower()) for one in given)
    if documented and key == "household":
        taken = []
    if words:
        taken.append(columns.listed_columns(words))
    rest = [one for one in left if one not in named and one not in (key, register, unit)]
    if rest:
        taken.append(f"not looked at: {quoted(rest)}")
    return FileLayout("; ".join(taken), tuple(given), key, register, unit, by_register)


def _household_of(files: ReadFiles, path: Path, table: Table, left: Sequence[str]) -> tuple[str | None, str]:
    """The column that names households, if there is one; else the name of the file's one household."""
    how = files.how
    for column in columns.role(left, columns.HOUSEHOLDS):
        several = len({row.cells[column] for row in table.rows}) > 1
        if several and how.household is not None:
            raise InputError(f"{path.name} has several in its column '{column}', so leave out --household")
        if several or (column == "household" and how.household is None):
            return column, ""
    return None, how.household or path.stem


def _registers(path: Path, table: Table, column: str) -> tuple[dict[str, str], dict[str, str]]:
    """Register -> quantity, empty where it is not looked at; the same in words."""
    quantities: dict[str, str] = {}
    words: dict[str, str] = {}
    for row in table.rows:
        name = row.text(column)
        if name not in quantities:
            quantity = columns.register_quantity(name)
            if quantity is None:
                raise row.error(
                    column, f"'{name}' is not known: neither import nor export nor production; leave its rows out"
                )
            quantities[name] = "" if quantity == "reactive" else quantity
            words[name] = "nothing (reactive energy)" if quantity == "reactive" else quantity
    if not {"import", "load"} & set(quantities.values()):
        raise InputError(f"{path.name}: there is no load and no import among its registers {quoted(list(quantities))}")
    return quantities, words


def _check_unit(path: Path, how: HowToRead, column: TableColumn) -> None:
    if column.unit is not None and how.unit is not None and column.unit != how.unit:
        raise InputError(
            f"{path.name}: column '{column.name}' is in {WRITTEN[column.unit]} by its name, --unit says "
            f"{WRITTEN[how.unit]}; leave out --unit, or correct the name"
        )
