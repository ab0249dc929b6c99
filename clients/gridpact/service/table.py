"""Reading a TOML file so that every complaint names file, table and key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gridpact.community.tables import minutes
from gridpact.errors import InputError
from gridpact.files import parse_toml, reason_of


class TomlTable:
    """A table of a TOML file. Keys are asked for one by one; `end` complains about those that nobody asked for."""

    def __init__(self, path: Path, name: str, values: Mapping[str, Any]) -> None:
        self.path = path
        self._name = name
        self._values = values
        self._known: list[str] = []

    @staticmethod
    def read(path: Path) -> TomlTable:
        """The top of a file.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return TomlTable(path, "", parse_toml(path.read_text(encoding="utf-8")))
        except IsADirectoryError:
            raise InputError(f"'{path}' is a folder: give the file in it, household.toml for example") from None
        except FileNotFoundError:
            raise InputError(
                f"there is no file '{path}': `gridpact household new` makes one, or give the path of another"
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"the file '{path}' cannot be read: {reason_of(error)}") from None

    def error(self, key: str, complaint: str) -> InputError:
        place = f"[{self._name}] {key}" if self._name else key
        return InputError(f"{self.path.name}, {place}: {complaint}")

    def has(self, key: str) -> bool:
        self._known.append(key)
        return key in self._values

    def table(self, key: str) -> TomlTable:
        """An inner table; an empty one where it is missing."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, f"must be a table; write [{key}] on a line of its own and its keys below")
        return TomlTable(self.path, key, value)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f'{value!r} must be a text in quotation marks, for example {key} = "..."')
        return value

    def one_of(self, key: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise self.error(key, f"'{value}' is not known; choose one of {', '.join(choices)}")
        return value

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def number(self, key: str, low: float, high: float = math.inf, default: float | None = None) -> float:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.error(key, f"{value!r} must be a number")
        if not low <= value <= high:
            bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise self.error(key, f"{value:g} must be {bounds}")
        return float(value)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(key, f"{value!r} must be a whole number between {low} and {high}")
        return value

    def integers(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """Different whole numbers, ascending; none where the key is missing."""
        value = self._get(key, [])
        if not isinstance(value, list) or any(
            isinstance(one, bool) or not isinstance(one, int) or not low <= one <= high for one in value
        ):
            raise self.error(key, f"{value!r} must be a list of whole numbers between {low} and {high}, as [2, 3]")
        if len(set(value)) < len(value):
            raise self.error(key, f"{value!r} has a number twice; remove one")
        return tuple(sorted(value))

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._get(key, None)
        if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
            raise self.error(key, f'{value!r} must be a list of texts, as ["/usr/bin/program", "--option"]')
        return tuple(value)

    def clock(self, key: str) -> int:
        """Minutes since midnight of "HH:MM"."""
        minute = minutes(text := self.text(key))
        if minute is None:
            raise self.error(key, f"'{text}' is not a time, for example \"18:00\"")
        return minute

    def file(self, key: str, default: str | None = None) -> Path:
        """A path, seen from the folder of the TOML file."""
        return self.path.parent / self.text(key, default)

    def only(self, keys: Sequence[str]) -> None:
        """Complains about a key that is none of these."""
        for key in self._values:
            if key not in keys:
                raise self.error(key, f"is not known; known keys here: {', '.join(keys)}")

    def end(self) -> None:
        """Complains about a key that nobody asked for."""
        self.only(tuple(dict.fromkeys(self._known)))

    def _get(self, key: str, default: Any) -> Any:
        self._known.append(key)
        value = self._values.get(key, default)
        if value is None:
            raise self.error(key, "is missing; add it")
        return value
