"""A node knows the chain by the protocols of `chain.ledger` alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gridpact.node

ROOM = sorted(Path(gridpact.node.__file__).parent.glob("*.py"))
PLAIN = {"commitments", "evidence", "ledger", "sealing", "values"}
"""Modules of `chain` that ask no chain."""

CODEC = {"Opening", "encode_trades", "decode_trades"}
"""Of `chain.settlement`: what a statement is made of."""


@pytest.mark.parametrize("path", ROOM, ids=lambda path: path.stem)
def test_node_namesNoContract(path: Path) -> None:
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("gridpact.chain."):
            module = str(statement.module).removeprefix("gridpact.chain.")
            assert module in PLAIN or {alias.name for alias in statement.names} <= CODEC, module
