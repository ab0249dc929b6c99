"""Programs of chains that tests start, and what only tests ask of a chain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3

from gridpact.chain.networks import MANAGER_KEY, Network, find_executable, open_network
from gridpact.errors import InputError

CONSORTIUM = Path(__file__).resolve().parents[1] / "deploy" / "consortium"


def skip_without(program: str) -> None:
    """Skips the test, or the module that is being imported, where a chain's program is not installed."""
    try:
        find_executable(program)
    except InputError as error:
        pytest.skip(str(error), allow_module_level=True)


@contextmanager
def consortium(folder: Path) -> Iterator[Network]:
    """A consortium's own network of four validators; skips where no program of one is at hand."""
    if os.environ.get("EVMD") or shutil.which("evmd"):
        engine = "evmd"
    elif os.environ.get("BESU_HOME"):
        engine = "besu"
    else:
        pytest.skip("no validators of a consortium here: set EVMD or BESU_HOME (docs/consortium.md)")
    place = ["--folder", str(folder / "network")]
    with ExitStack() as stack:
        stack.callback(subprocess.run, [CONSORTIUM / "down", *place, "--wipe"], check=False)
        subprocess.run([CONSORTIUM / "up", *place, "--engine", engine], check=True)
        told = json.loads((folder / "network" / "network.json").read_text())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv(MANAGER_KEY, (folder / "network" / "manager.key").read_text().strip())
        yield stack.enter_context(open_network(f"http://127.0.0.1:{told['validators'][0]['base_port']}"))


def rpc(web3: Web3, method: str, *parameters: Any) -> Any:
    """A request in the chain's own words, its answer as it came."""
    return web3.manager.request_blocking(method, list(parameters))  # type: ignore[arg-type]


def pass_time(network: Network, web3: Web3, seconds: int) -> None:
    """The next block is that much later."""
    if network.name == "eth-tester":
        web3.provider._tester.time_travel(web3.eth.get_block("latest")["timestamp"] + seconds)  # type: ignore
    else:
        rpc(web3, "evm_increaseTime", seconds)
        rpc(web3, "evm_mine")
