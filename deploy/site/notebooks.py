"""Makes notebooks of the tutorials: `make notebooks`.

A block of Python becomes a cell, and what stands between blocks one of text. The tutorials are what is written, read on
the site and run by the tests; notebooks are made of them and hold nothing of their own.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def notebook(tutorial: str) -> str:
    """A tutorial as a notebook, as JSON of nbformat 4.5."""
    parts = [part.strip("\n") for part in BLOCK.split(tutorial)]
    cells = [_cell(number, part) for number, part in enumerate(parts) if part]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cell(number: int, text: str) -> dict[str, object]:
    """Texts and blocks take turns."""
    cell: dict[str, object] = {"id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
    if number % 2:
        return {"cell_type": "code", "execution_count": None, "outputs": [], **cell}
    return {"cell_type": "markdown", **cell}


if __name__ == "__main__":
    sources, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(sources.glob("*.md")):
        (folder / f"{path.stem}.ipynb").write_text(notebook(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(folder / f"{path.stem}.ipynb")
