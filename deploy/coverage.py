"""Branch coverage of the contracts by their own tests, printed by contract and function.

    python deploy/coverage.py [pytest arguments]      (`make coverage`)

Exit status: 0 where every branch was taken, 1 where one was not or a test failed.

A branch is one outcome, true or false, of a condition: of `if`, `?:`, `while`, `for`, `require`, `assert`, of each
operand of `&&` and `||`, and of `if` and `for` in assembly; and the entry of a function, of a clause of `try`, or of a
case of `switch`. Checks that the compiler adds (overflow, bounds, ABI) are not counted.

The sources are copied to build/coverage and marked there: a condition c becomes `covered(c, id)`, which returns c and
tells Anvil's console which outcome it was. Anvil prints that for transactions and calls, also for those that revert.
So what is counted are tests that `make test` runs, and nothing has to be inferred from bytecode: brownie's own
`--coverage` reads traces of optimised code, where branches of the source are merged or gone, knows neither custom
errors' conditions nor assembly, and a trace of a large submission is some hundred megabytes.

What is sealed means nothing to the contracts without the nodes that seal it. So ROUNDS are counted as well, whole
rounds of nodes, with the package's artifacts made of the marked contracts. A mark speaks however it is come to: by a
call, by `delegatecall` (`Clerk`, `Registrar`), or by a call of another contract (the referee, `Clearing`).

The marks cost gas and code size, so the limits on both are off, and the tests that measure gas are left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "coverage"
LEFT_OUT = ("contracts/mocks",)
COPIED = ("contracts", "deploy", "tests", "clients", "brownie-config.yaml", "pyproject.toml")
LINKED = (".venv", "node_modules")
ROUNDS = ("tests/integration/test_sealed.py",)
"""Whole rounds beside the tests in tests/contracts: what is sealed means nothing without the nodes that seal it."""

NOT_RUN = (
    "--ignore-glob=*gas.py",
    "--deselect=tests/contracts/test_token.py::test_artifacts_areUpToDate",
    *(
        f"--deselect=tests/contracts/{test}"
        for test in (
            "test_flexibility.py::test_gas",
            "test_street.py::test_gas_ofAProof",
            "test_street.py::test_gas_ofTheLargestStreet",
        )
    ),
)
"""What measures gas, and the size of contracts, which marks change."""

CHAIN = "--as-chain"  # how brownie starts this program
NAME = "covered"
FIRST = 10**30
"""What is printed is this and 2 id + outcome: nothing else that Anvil prints looks so."""

YUL = (
    # The console takes log(uint256), and memory is left as it was. No name may be that of a variable around it.
    f"function {NAME}InYul(id__, outcome__) -> same__ {{ "
    "same__ := outcome__ let first__ := mload(0) let second__ := mload(32) "
    f"mstore(0, {0xF82C50F1 << 224}) mstore(4, add({FIRST}, add(mul(2, id__), iszero(iszero(outcome__))))) "
    "pop(staticcall(gas(), 0x000000000000000000636F6e736F6c652e6c6f67, 0, 36, 0, 0)) "
    "mstore(0, first__) mstore(32, second__) }"
)

SOLIDITY = f"""// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

function {NAME}(bool outcome, uint256 id) view returns (bool same) {{
    assembly {{
        {YUL}
        same := {NAME}InYul(id, outcome)
    }}
}}
"""

PURE = re.compile(rb"\bpure\b")
YUL_BRANCHES = ("YulIf", "YulForLoop", "YulCase")

Node = dict[str, Any]
"""A node of the compiler's syntax tree."""


@dataclass(frozen=True)
class Site:
    """A place in a source where something branches."""

    file: str
    line: int
    contract: str  # empty: a free function
    function: str
    text: str  # the condition as it is written; empty: the entry of a function or clause

    @property
    def outcomes(self) -> tuple[bool, ...]:
        return (False, True) if self.text else (True,)


@dataclass
class Marked:
    """A source with its marks; insertions are kept apart until all are known."""

    path: str
    source: bytes
    insertions: list[tuple[int, int, str]] = field(default_factory=list)  # byte offset, rank at one offset, text

    def text(self) -> str:
        parts, at = [], 0
        for offset, _, text in sorted(self.insertions, key=lambda insertion: insertion[:2]):
            parts += [self.source[at:offset].decode(), text]
            at = offset
        return "".join([*parts, self.source[at:].decode()])

    def no_longer_pure(self, start: int, end: int) -> None:
        """A function that tells the console something is a view, and so is who calls it."""
        self.source = self.source[:start] + PURE.sub(b"view", self.source[start:end]) + self.source[end:]


class Marker:
    """Walks the syntax tree of all sources and marks what branches."""

    def __init__(self) -> None:
        self.sites: list[Site] = []

    def mark(self, path: str, source: bytes, tree: Node) -> str:
        """A source with its marks."""
        self._file = Marked(path, source)
        for top in tree["nodes"]:
            if top["nodeType"] == "ContractDefinition":
                for member in top["nodes"]:
                    self._definition(top["name"], member)
            else:
                self._definition("", top)
        if self._file.insertions:
            # Behind the pragma, since brownie looks for a contract's end at the end of the file.
            (pragma,) = (top for top in tree["nodes"] if top["nodeType"] == "PragmaDirective")
            up = "../" * (path.count("/") - 1) or "./"
            self._insert(_end(pragma), f' import {{{NAME}}} from "{up}Covered.sol";')
        return self._file.text()

    def _definition(self, contract: str, node: Node) -> None:
        if node["nodeType"] not in ("FunctionDefinition", "ModifierDefinition"):
            return
        body = node.get("body")
        self._file.no_longer_pure(_start(node), _start(body) if body else _end(node))
        if not body:
            return
        self._contract, self._function = contract, node["name"] or node["kind"]
        if node["nodeType"] == "FunctionDefinition":
            self._entry(body)
        for inner in _walk(body):
            kind = inner["nodeType"]
            if kind in ("IfStatement", "WhileStatement", "DoWhileStatement", "ForStatement", "Conditional"):
                self._condition(inner.get("condition"))
            elif kind == "FunctionCall" and inner["expression"].get("name") in ("require", "assert"):
                self._condition(inner["arguments"][0])
            elif kind == "BinaryOperation" and inner["operator"] in ("&&", "||"):
                self._condition(inner)
            elif kind == "TryCatchClause":
                self._entry(inner["block"])
            elif kind == "InlineAssembly" and any(part["nodeType"] in YUL_BRANCHES for part in _walk(inner["AST"])):
                self._insert(_start(inner["AST"]) + 1, f" {YUL}")
            elif kind in ("YulIf", "YulForLoop") and inner["condition"]["nodeType"] != "YulLiteral":
                self._condition(inner["condition"])
            elif kind == "YulCase":
                self._entry(inner["body"])

    def _entry(self, block: Node) -> None:
        number = len(self.sites)
        in_yul = block["nodeType"].startswith("Yul")
        self._insert(_start(block) + 1, f" pop({NAME}InYul({number}, 1))" if in_yul else f" {NAME}(true, {number});")
        self._site(_start(block), "")

    def _condition(self, node: Node | None) -> None:
        """Marks the operands that a condition is made of, once each."""
        if node is None:  # for (;;)
            return
        kind, operator = node["nodeType"], node.get("operator")
        if kind == "TupleExpression":
            self._condition(node["components"][0])
        elif kind == "UnaryOperation" and operator == "!":
            self._condition(node["subExpression"])
        elif kind == "BinaryOperation" and operator in ("&&", "||"):
            self._condition(node["leftExpression"])
            self._condition(node["rightExpression"])
        elif not node.get("marked"):
            node["marked"] = True
            start, end = _start(node), _end(node)
            # What a mark is given first lies on the stack while the condition is evaluated, where there is little room:
            # Solidity begins with the first argument, assembly with the last.
            number = len(self.sites)
            in_yul = kind.startswith("Yul")
            before, after = (f"{NAME}InYul({number}, ", ")") if in_yul else (f"{NAME}(", f", {number})")
            self._insert(start, before, rank=-end)  # of two at one place, the longer first
            self._insert(end, after, rank=-start)  # and the shorter ends first
            self._site(start, " ".join(self._file.source[start:end].decode().split()))

    def _insert(self, offset: int, text: str, rank: int = 0) -> None:
        self._file.insertions.append((offset, rank, text))

    def _site(self, offset: int, text: str) -> None:
        self.sites.append(Site(self._file.path, self._line(offset), self._contract, self._function, text))

    def _line(self, offset: int) -> int:
        return self._file.source.count(b"\n", 0, offset) + 1


def _walk(node: Any) -> Iterator[Node]:
    """All nodes below and including one, parents first."""
    if isinstance(node, list):
        for item in node:
            yield from _walk(item)
    elif isinstance(node, dict):
        if "nodeType" in node:
            yield node
        for value in node.values():
            yield from _walk(value)


def _start(node: Node) -> int:
    return int(node["src"].split(":")[0])


def _end(node: Node) -> int:
    start, length, _ = map(int, node["src"].split(":"))
    return start + length


def syntax_trees(sources: Mapping[str, bytes]) -> dict[str, Node]:
    """The compiler's syntax trees of sources, by path below the root."""
    request = {
        "language": "Solidity",
        "sources": {path: {"content": source.decode()} for path, source in sources.items()},
        "settings": {
            "remappings": ["@openzeppelin=node_modules/@openzeppelin"],
            "outputSelection": {"*": {"": ["ast"]}},
        },
    }
    compiler = subprocess.run(
        [ROOT / "deploy" / "solc", "--standard-json"],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=True,
    )
    answer = json.loads(compiler.stdout)
    errors = [error["formattedMessage"] for error in answer.get("errors", []) if error["severity"] == "error"]
    if errors:
        raise SystemExit(errors[0])
    return {path: answer["sources"][path]["ast"] for path in sources}


def marked_copy() -> list[Site]:
    """Copies the project to build/coverage, with marks in the contracts."""
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, COPY / name)
    for name in LINKED:
        (COPY / name).symlink_to(ROOT / name)
    (COPY / ".solcx").mkdir()
    (COPY / ".solcx" / "solc-v0.8.30").symlink_to("../deploy/solc")

    found = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "contracts").rglob("*.sol"))
    sources = {path: (ROOT / path).read_bytes() for path in found if not path.startswith(LEFT_OUT)}
    for path in set(found) - set(sources):  # they call what is marked
        (COPY / path).write_bytes(PURE.sub(b"view", (ROOT / path).read_bytes()))
    marker = Marker()
    for path, tree in syntax_trees(sources).items():
        (COPY / path).write_text(marker.mark(path, sources[path], tree))
    (COPY / "contracts" / "Covered.sol").write_text(SOLIDITY)
    return marker.sites


def run_tests(arguments: Sequence[str]) -> tuple[int, set[int]]:
    """Runs the tests on the marked copy. Returns the worst of pytest's exit statuses, and what Anvil printed."""
    printed = COPY / "printed"
    printed.touch()
    status = max(run_contract_tests(printed, arguments), run_rounds(printed, arguments))
    return status, {int(line) - FIRST for line in printed.read_text().split()}


def run_rounds(printed: Path, arguments: Sequence[str]) -> int:
    """Runs ROUNDS on the marked copy, from a folder with a chain of its own."""
    folder = COPY / "rounds"
    _chain(folder / "node_modules" / ".bin" / "anvil", printed)
    tests = [f"../{path}" for path in ROUNDS]
    command = [sys.executable, "-m", "pytest", "-c", "../pyproject.toml", "--rootdir", "..", "-p", "no:pytest-brownie"]
    environment = {**os.environ, "PYTHONPATH": str(COPY / "clients"), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    return subprocess.run([*command, *tests, *arguments], cwd=folder, env=environment, check=False).returncode


def _chain(path: Path, printed: Path) -> None:
    """Makes a program that starts Anvil and keeps its marks."""
    path.parent.mkdir(parents=True)
    programs, command = ROOT / "node_modules" / ".bin", f'"{sys.executable}" "{Path(__file__).resolve()}" {CHAIN}'
    path.write_text(f'#!/bin/sh\nPATH="{programs}:$PATH" exec {command} "{printed}" "$@"\n')
    path.chmod(0o755)


def run_contract_tests(printed: Path, arguments: Sequence[str]) -> int:
    """Runs the contract tests on the marked copy."""
    port, programs = _free_port(), COPY / "programs"
    chain = programs / "anvil-printing"  # what brownie starts, by its list of networks
    _chain(chain, printed)
    _change(COPY / "deploy" / "networks.yaml", "cmd: anvil", f"cmd: {chain.name}")
    _change(COPY / "deploy" / "networks.yaml", "port: 8545", f"port: {port}")
    _change(COPY / "deploy" / "networks.yaml", "gas_limit: 30000000", "gas_limit: 1000000000000")
    _change(COPY / "brownie-config.yaml", "gas_price: 2 gwei", "gas_price: 0")  # nobody could pay for that limit
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(COPY / "clients"),  # whose artifacts are those of the marked contracts
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
    command = ["deploy/brownie", "test", "tests/contracts", "--network", "development", *NOT_RUN, *arguments]
    return subprocess.run(command, cwd=COPY, env=environment, check=False).returncode


def run_chain(printed: Path, arguments: Sequence[str]) -> int:
    """Runs Anvil in brownie's place, and keeps each mark that it prints once. Ends with Anvil, or is killed."""
    seen: set[bytes] = set()
    aloud = [argument for argument in arguments if argument != "--quiet"]
    command = ["anvil", "--disable-code-size-limit", *aloud]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as anvil, printed.open("ab", buffering=0) as kept:
        assert anvil.stdout is not None
        for line in anvil.stdout:
            if line not in seen and re.fullmatch(rb"1\d{30}\n", line):
                seen.add(line)
                kept.write(line)
    return anvil.returncode


def _change(path: Path, old: str, new: str) -> None:
    """Replaces a text that must be there."""
    text = path.read_text()
    if old not in text:
        raise SystemExit(f"'{old}' is not in {path.relative_to(COPY)} any more: adapt deploy/coverage.py")
    path.write_text(text.replace(old, new))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def report(sites: Sequence[Site], printed: set[int]) -> tuple[str, bool]:
    """A table by contract and function, and the branches never taken; whether there are none of these."""
    lines: list[str] = []
    missing: list[str] = []
    groups: dict[str, dict[str, list[int]]] = {}
    for number, site in enumerate(sites):
        owner = site.contract or site.file
        for owner_row in (f"{owner}\0", f"{owner}\0{site.function}"):
            counts = groups.setdefault(owner, {}).setdefault(owner_row, [0, 0])
            for outcome in site.outcomes:
                taken = 2 * number + outcome in printed
                counts[0] += taken
                counts[1] += 1
        for outcome in site.outcomes:
            if 2 * number + outcome not in printed:
                what = f"never {str(outcome).lower()}: {site.text}" if site.text else f"never entered: {site.function}"
                missing.append(f"{site.file}:{site.line}: {what}")
    total = [0, 0]
    for owner in sorted(groups):
        for row, (taken, count) in groups[owner].items():
            function = row.split("\0")[1]
            name = f"  {function}" if function else owner
            lines.append(f"{name:<44} {taken:>4} of {count:>4} {taken / count:>7.1%}")
            if not function:
                total = [total[0] + taken, total[1] + count]
    if not sites:
        return "There is nothing to cover.", False
    lines.append(f"{'All':<44} {total[0]:>4} of {total[1]:>4} {total[0] / total[1]:>7.1%}")
    if missing:
        lines += ["", "Never taken:", *(f"  {line}" for line in missing)]
    return "\n".join(lines), not missing


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == [CHAIN]:
        return run_chain(Path(arguments[1]), arguments[2:])
    sites = marked_copy()
    subprocess.run(["deploy/brownie", "compile", "--all"], cwd=COPY, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "deploy/artifacts.py", "--marked"], cwd=COPY, check=True)  # a test compares them
    status, printed = run_tests(arguments)
    if status not in (0, 1):
        print(f"The tests did not run to their end: brownie ended with status {status}.", file=sys.stderr)
        return 1
    text, complete = report(sites, printed)
    print(f"\nBranches taken\n\n{text}")
    if status:
        print("\nThe tests did not pass, so the figures do not count.", file=sys.stderr)
    return 0 if complete and not status else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
