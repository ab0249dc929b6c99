"""How processes of nodes are started."""

from __future__ import annotations

import sys
from multiprocessing import spawn
from types import ModuleType

import pytest

from gridpact.run.launch import _without_main


def test_withoutMain_processesAreNotToldWhatTheMainProgramIs(monkeypatch: pytest.MonkeyPatch) -> None:
    program = ModuleType("__main__")
    program.__file__ = "/somewhere/program.py"
    monkeypatch.setitem(sys.modules, "__main__", program)

    def told() -> list[str]:
        return [key for key in spawn.get_preparation_data("node") if key.startswith("init_main")]

    assert told() == ["init_main_from_path"]
    with _without_main():
        assert told() == []
    assert sys.modules["__main__"] is program
