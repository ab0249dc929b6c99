r"""Equations as MathML, which browsers draw by themselves: `$...$` in a line, and `$$...$$` in a line of its own.

A Markdown extension. `\tag{n}` stands at the right, in brackets.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.util import AtomicString

INLINE = r"(?<![\\$\w])\$(?![\s$])([^$]+?)(?<![\s\\])\$(?![\w$])"
BLOCK = r"\$\$(.+?)\$\$"
TAG = re.compile(r"\\tag\{([^}]*)\}")


class Inline(InlineProcessor):
    """An equation within a sentence."""

    def handleMatch(  # type: ignore[override]  # the base's own signature is of the older pattern
        self, match: re.Match[str], data: str
    ) -> tuple[ElementTree.Element, int, int]:
        return _math(match[1], "inline"), match.start(), match.end()


class Block(InlineProcessor):
    """An equation of its own, with its number."""

    def handleMatch(  # type: ignore[override]
        self, match: re.Match[str], data: str
    ) -> tuple[ElementTree.Element, int, int]:
        line = ElementTree.Element("span", {"class": "equation"})
        line.append(_math(TAG.sub("", match[1]), "block"))
        if number := TAG.search(match[1]):
            ElementTree.SubElement(line, "span").text = f"({number[1]})"
        return line, match.start(), match.end()


class Equations(Extension):
    """Registers both, after code, and before anything that a formula's characters would mean elsewhere."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(Block(BLOCK, md), "equation-block", 186)
        md.inlinePatterns.register(Inline(INLINE, md), "equation-inline", 185)


def makeExtension(**options: object) -> Equations:
    """What Markdown calls."""
    return Equations(**options)


def _math(latex: str, display: str) -> ElementTree.Element:
    math = ElementTree.fromstring(convert(latex.strip(), xmlns="", display=display))
    for element in math.iter():
        element.attrib.pop("xmlns", None)
        element.text = AtomicString(element.text) if element.text else None  # what Markdown leaves alone
    return math
