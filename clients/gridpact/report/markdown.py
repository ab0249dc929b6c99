"""Tables of the documents that programs write."""

from __future__ import annotations

from collections.abc import Iterable


def markdown(head: str, rows: Iterable[str], words: int | None = None) -> str:
    """A table in Markdown.

    Args:
        head, rows: cells with " | " between them.
        words: so many columns hold words, the others numbers on the right; None: all stand on the left.
    """
    columns = len(head.split(" | "))
    rule = " | ".join("---" if words is None or k < words else "---:" for k in range(columns))
    return "\n".join(f"| {line} |" for line in (head, rule, *rows))
