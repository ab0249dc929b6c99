"""The files that the browser gets: small, without markup from strings, without anything from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import gridpact.live

STATIC = Path(gridpact.live.__file__).parent / "static"
OWN = [path for path in sorted(STATIC.glob("*.js")) if path.name != "uPlot.js"]
MOST_BYTES = 300_000
LANGUAGES = 3


def test_page_isSmall() -> None:
    assert sum(path.stat().st_size for path in STATIC.iterdir()) <= MOST_BYTES


def test_markup_hasNoScriptAndNoStyleInIt() -> None:
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son\w+=|javascript:", text)
    assert all((STATIC / name).is_file() for name in re.findall(r'(?:src|href)="([^"#]+)"', text))


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_scripts_makeNoMarkupOfText(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
    assert not re.findall(rf"{markup}|\beval\(|new Function", text)
    assert not re.findall(r"setAttribute\(\"(?:on|style|href|src)", text)
    assert set(re.findall(r"https?://[^\"'` ]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_nothing_comesFromElsewhere() -> None:
    for path in STATIC.glob("*.css"):
        assert not re.findall(r"@import|url\(", path.read_text(encoding="utf-8"))


def words() -> dict[str, list[str]]:
    """The table of words, by name."""
    text = (STATIC / "words.js").read_text(encoding="utf-8")
    table = text[text.index("const WORDS = {") : text.index("\n};")]
    entries = re.findall(r"^  \"?([\w.]+)\"?: (\[.*\]),$", table, re.MULTILINE)
    return {name: json.loads(entry) for name, entry in entries}


def test_words_areThereInAllLanguages() -> None:
    table = words()
    assert len(table) > 100
    for name, entry in table.items():
        assert len(entry) == LANGUAGES, name
        assert all(entry), name
        assert len({frozenset(re.findall(r"\{(\w+)\}", text)) for text in entry}) == 1, f"{name}: other values"


def test_words_thatAreUsed_areThere() -> None:
    table = words()
    used = {name for path in OWN for name in re.findall(r"\bword\(\"(\w+)\"", path.read_text(encoding="utf-8"))}
    used |= set(re.findall(r'data-word="(\w+)"', (STATIC / "index.html").read_text(encoding="utf-8")))
    assert used <= table.keys()


def test_library_hasItsLicence() -> None:
    assert "MIT" in (STATIC / "uPlot.LICENSE").read_text(encoding="utf-8")
