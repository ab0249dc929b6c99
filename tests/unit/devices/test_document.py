"""Documentation says what the registry says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridpact.devices.document import MARKED, written

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", ["community-file.md", "node.md"])
def test_docs_sayWhatIsSo(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    assert MARKED.search(text)
    assert written(text) == text, f"run: python -m gridpact.devices.document docs/{name}"
