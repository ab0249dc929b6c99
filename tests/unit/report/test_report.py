"""The page is whole, harmless and by itself; a folder holds a whole run or the one before."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gridpact.errors import InputError
from gridpact.outcome.outcome import Optimum, Outcome
from gridpact.problem.scenario import REPORT, Scenario
from gridpact.report import report
from gridpact.report.folder import publish
from gridpact.report.plots import PLOTS
from gridpact.report.report import write_report
from gridpact.report.tables import CSV_FILES, write_tables
from unit.conftest import community, run


@pytest.fixture(autouse=True)
def without_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes seconds; `test_plots` has them."""
    monkeypatch.setattr(report, "png", lambda figure: b"")


VOID = {"meta", "br", "link", "img", "hr", "input"}
HOSTILE = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Notes tags, ids, links and the text; complains where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.links += [value for key, value in attrs if key in ("href", "src") and tag != "use" and value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("scenario", REPORT)
def test_the_page_has_all_its_parts(scenario: Scenario, tmp_path: Path) -> None:
    path = write_report(run(scenario), tmp_path / "run")
    page = Page(path.read_text(encoding="utf-8"))
    assert path == tmp_path / "run" / "index.html"
    assert {"checks", "pictures", "households", "cost", "run", "files", *PLOTS} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == 5
    assert page.tags.count("figcaption") == 5
    assert set(CSV_FILES) | {"result.json"} <= set(page.links)
    for link in page.links:
        assert (tmp_path / "run" / link).is_file(), link
    for home in ("sun", "flat", "car"):
        assert home in page.text
    assert ("2.54 EUR to the supplier" in page.text) == scenario.has_trades


def test_the_page_works_by_itself(result: Outcome, tmp_path: Path) -> None:
    text = write_report(result, tmp_path / "run").read_text(encoding="utf-8")
    loaded = re.findall(r'(?:src|href)="(?!#)([^"]*)"|url\((?!#)([^)]*)\)|@import', text)
    assert not [link for link in loaded if "//" in "".join(link)]
    assert "<script" not in text
    assert str(tmp_path) not in text


def test_names_are_escaped(tmp_path: Path) -> None:
    hostile = community((HOSTILE, HOSTILE + "2", '"><img src=x onerror=y>'), name=HOSTILE)
    result = run(community=hostile, chain=HOSTILE)
    text = write_report(result, tmp_path / "run").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert HOSTILE in page.text
    for picture in (tmp_path / "run").glob("*.svg"):
        assert "<script" not in picture.read_text(encoding="utf-8")


def test_what_failed_is_said(tmp_path: Path) -> None:
    text = write_report(run(reached=False, optimum=Optimum(2.0, 2.0)), tmp_path / "run").read_text(encoding="utf-8")
    page = Page(text)
    assert "did not agree on trades and the use of the grid within 3 iterations" in page.text
    assert "Not every check held: agreement reached, cost above the optimum." in page.text


def test_a_later_run_replaces_an_earlier_one_and_nothing_else(result: Outcome, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_tables(run(Scenario.B), folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "logs").mkdir()
    write_tables(result, folder)
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "logs").is_dir()
    assert '"scenario": "tg"' in (folder / "result.json").read_text(encoding="utf-8")
    assert (folder / "trades.csv").read_text(encoding="utf-8").count("\n") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("earlier", [False, True])
def test_a_failure_leaves_what_was_there(
    earlier: bool, result: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(*_: object) -> str:
        raise RuntimeError("no page")

    if earlier:
        write_tables(run(Scenario.B), tmp_path / "run")
    before = contents()
    monkeypatch.setattr(report, "PLOTS", {})
    monkeypatch.setattr(report, "page", fail)
    with pytest.raises(RuntimeError):
        write_report(result, tmp_path / "run")
    assert contents() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"] * earlier


def test_somebody_elses_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    with pytest.raises(InputError, match=r"index\.html.*--out"):
        publish(tmp_path / "site", lambda staging: write_all(staging))
    assert (tmp_path / "site" / "index.html").read_text() == "mine"


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        publish(tmp_path / "run", write_all)
    with pytest.raises(InputError, match="cannot be written"):
        publish(tmp_path / "run" / "below", write_all)


def test_folders_are_made_and_can_be_read_by_others(tmp_path: Path) -> None:
    publish(tmp_path / "a" / "b", write_all)
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a" / "b").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_is_there_may_be_a_volume(tmp_path: Path) -> None:
    """Files are moved within it only: from one volume to another nothing can be renamed."""
    staged: list[Path] = []
    for _ in range(2):
        publish(tmp_path, lambda staging: (staged.append(staging), write_all(staging))[1])
    assert {staging.parent for staging in staged} == {tmp_path}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "result.json"]


def write_all(staging: Path) -> None:
    (staging / "index.html").write_text("page")
    (staging / "result.json").write_text("{}")
