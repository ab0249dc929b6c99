"""What turns the repository's own Markdown into the documentation site: `make site`.

The files are written to be read in the repository, and stay as they are. On the site README is the first page, pages of
the repository's top are beside those of docs/, links to sources are words, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebooks import notebook

ROOT = Path(__file__).resolve().parents[2]
TOP_PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository's top that are pages, and where."""
MERMAID = Path("node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js")
DIAGRAMS = "assets/mermaid.js"
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^(`{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages of the repository's top, the names of the package's face, and the script that draws diagrams."""
    for name, at in TOP_PAGES.items():
        files.append(File.generated(config, at, content=(ROOT / name).read_text(encoding="utf-8")))
    if not (ROOT / MERMAID).exists():
        raise SystemExit(f"{MERMAID} is missing, which draws the diagrams: `make site` installs it")
    for tutorial in sorted((ROOT / "docs" / "tutorials").glob("*.md")):
        made = notebook(tutorial.read_text(encoding="utf-8"))
        files.append(File.generated(config, f"tutorials/{tutorial.stem}.ipynb", content=made))
    files.append(File.generated(config, DIAGRAMS, abs_src_path=str(ROOT / MERMAID)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The same text with links as they are on the site."""
    origin = {at: name for name, at in TOP_PAGES.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    if page.file.src_uri.startswith("tutorials/"):
        button = f"[As a notebook]({Path(page.file.src_uri).stem}.ipynb){{ .md-button download }}"
        markdown = markdown.replace("\n", f"\n\n{button}\n", 1)  # below the title
    parts: list[str] = []
    last = 0
    for fence in FENCE.finditer(markdown):  # links are not looked for in code
        parts += [_relinked(markdown[last : fence.start()], origin, page.file.src_uri), fence.group()]
        last = fence.end()
    return "".join([*parts, _relinked(markdown[last:], origin, page.file.src_uri)])


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The script that draws diagrams, on the pages that have some."""
    if 'class="mermaid"' not in output:
        return output
    script = posixpath.relpath(DIAGRAMS, posixpath.dirname(page.file.dest_uri) or ".")
    return output.replace("</head>", f'<script src="{script}"></script></head>', 1)


def _relinked(markdown: str, origin: str, at: str) -> str:
    """Args: origin: the page's file in the repository. at: its place on the site."""

    def link(match: re.Match[str]) -> str:
        text, target = match["text"], match["target"]
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match.group()
        file = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        if file in TOP_PAGES:
            there = TOP_PAGES[file]
        elif file.startswith("docs/"):
            there = file.removeprefix("docs/")
        else:  # a source: on the site its name, as it stands
            return text[1:-1]
        place = posixpath.relpath(there, posixpath.dirname(at) or ".")
        return f"{text}({place}{'#' + anchor if anchor else ''})"

    return LINK.sub(link, markdown)
