"""A record of a deployment is never lost to the next one."""

from __future__ import annotations

from pathlib import Path

from gridpact.cli.deploy import kept_copy


def test_record_isKeptUnderTheFirstFreeName(tmp_path: Path) -> None:
    record = tmp_path / "anvil.json"
    assert kept_copy(record) is None
    for number, text in enumerate(("first", "second", "third"), 1):
        record.write_text(text)
        assert kept_copy(record) == tmp_path / f"anvil-{number}.json"
        assert (tmp_path / f"anvil-{number}.json").read_text() == text
    assert (tmp_path / "anvil-1.json").read_text() == "first"
