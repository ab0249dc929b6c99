"""The documentation site: it builds without a warning, and asks nobody else for anything."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.version_info < (3, 11, 5), reason="the site's tools have left Python 3.10")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make site` builds it, strictly: a warning, a link that leads nowhere, ends it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],  # --quiet would let warnings pass
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "deploy" / "site"), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


def test_site_hasEveryPageOfTheDocs(site: Path) -> None:
    pages = {path.stem for path in site.glob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= pages
    assert {"index", "security", "contributing", "changelog"} <= pages


def test_tutorials_areNotebooksToo(site: Path) -> None:
    for tutorial in (ROOT / "docs" / "tutorials").glob("*.md"):
        made = json.loads((site / "tutorials" / f"{tutorial.stem}.ipynb").read_text(encoding="utf-8"))
        source = tutorial.read_text(encoding="utf-8")
        code = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]
        assert code == re.findall(r"^```python\n(.*?)\n```$", source, re.MULTILINE | re.DOTALL)
        assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
        texts = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "markdown"]
        assert all(text in source and "```python" not in text for text in texts)


def test_site_loadsNothingFromElsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?([^\"' >]+)", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=[\"']?([^\"' >]+)", text)
        assert loaded
        for target in loaded:
            assert not re.match(r"(?:[a-z]+:)?//", target), f"{page.name} loads {target}"
            assert (page.parent / target.partition("?")[0].partition("#")[0]).exists() or page.name == "404.html"


def test_site_drawsEquationsAndDiagramsByItself(site: Path) -> None:
    formulas = (site / "formulation.html").read_text(encoding="utf-8")
    assert formulas.count("<math") > 200
    article = re.sub(r"<(code|math)\b.*?</\1>", "", formulas[formulas.index("<article") :], flags=re.DOTALL)
    assert not re.findall(r"\$|\\[a-z]+", article)
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert ('class="mermaid"' in text) == ("assets/mermaid.js" in text)


def test_site_describesThePublicFace(site: Path) -> None:
    import gridpact

    reference = (site / "api.html").read_text(encoding="utf-8")
    for name in set(gridpact.__all__) - {"__version__"}:
        assert f"gridpact.face.{name}" in reference or f".{name}" in reference, name
