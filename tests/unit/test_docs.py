"""What the Markdown of the repository says of it: links lead somewhere, and commands are such as gridpact takes."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from shell_blocks import COMMAND, FENCE, GENERAL, ROOT, pages

from gridpact.cli import _parser
from gridpact.errors import InputError

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@cache
def anchors(path: Path) -> set[str]:
    """What headings of a file can be linked by, as the common readers of Markdown name them."""
    slugs: set[str] = set()
    for heading in re.findall(r"^#+ (.+?)\s*$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in slugs:
            number += 1
        slugs.add(name)
    return slugs


def commands(text: str) -> Iterator[str]:
    """Commands in blocks of code, a line each, without what follows them in a shell."""
    fenced = [match["code"] for match in FENCE.finditer(text) if match["language"] in ("text", "sh")]
    indented = re.findall(r"^ {4,}\S.*", FENCE.sub("", text), re.MULTILINE)
    for line in re.sub(r" *\\\n\s*", " ", "\n".join([*fenced, *indented])).splitlines():
        if match := COMMAND.match(line.strip().removeprefix("$ ")):
            yield re.split(r"\s#|\s2?>|\s&|;", match["command"])[0].strip()


@cache
def whole() -> argparse.ArgumentParser:
    return _parser()


def parser_of(words: list[str]) -> argparse.ArgumentParser:
    """The parser of a command or of its part."""
    parser = whole()
    for word in words:
        choices = next((a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None)
        if not choices or word not in choices:
            break
        parser = choices[word]
    return parser


@pytest.mark.parametrize("name", pages())
def test_links_leadSomewhere(name: str) -> None:
    file = ROOT / name
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", file.read_text(encoding="utf-8")))):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), f"{name} links to {target}, and there is no such file"
        if anchor:
            assert anchor in anchors(there), f"{name} links to {target}, and that heading is not there"


@pytest.mark.parametrize("name", pages())
def test_commands_areSuchAsGridpactTakes(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in commands((ROOT / name).read_text(encoding="utf-8")):
        program, *words = command.split()
        if program == "make":
            assert words[0] in targets, f"{name}: there is no target of `{command}`"
        elif GENERAL.search(command):
            takes = {option for word in words for option in parser_of([words[0], word])._option_string_actions}
            takes |= {option for word in words for option in parser_of([word])._option_string_actions}
            missing = set(re.findall(r"--[a-z][a-z-]+", command)) - takes
            assert not missing, f"{name}: `{command}` has {sorted(missing)}, which gridpact does not take"
        else:
            filled = re.sub(r"\$\([^)]*\)|\$\w+", "0x" + 40 * "1", command)
            try:
                whole().parse_args(shlex.split(filled)[1:])
            except (InputError, SystemExit) as error:
                pytest.fail(f"{name}: gridpact does not take `{command}`: {error}")
