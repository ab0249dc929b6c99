"""Networks are opened, and what was started is ended, whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from chains import skip_without
from waiting import until

from gridpact.chain import networks
from gridpact.chain.keys import address_of
from gridpact.chain.networks import MANAGER_KEY, Imitation, Network, open_imitation, open_network
from gridpact.chain.transport import connect
from gridpact.errors import ChainError, InputError

STARTED = ["anvil", "ganache"]


@pytest.fixture(params=STARTED)
def name(request: pytest.FixtureRequest) -> str:
    skip_without(request.param)
    return str(request.param)


def answers(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(urlsplit(url).port or 0))) == 0


def wait_for_silence(url: str) -> None:
    until(lambda: not answers(url), f"{url} still answers")


def test_open_endsWhatItStarted(name: str, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "chain.log"
    with open_network(name, log) as network:
        assert network.rpc_url is not None
        assert network.connect().eth.chain_id == network.chain_id
    assert not answers(network.rpc_url)
    assert log.stat().st_size > 0


@pytest.mark.parametrize("start", [lambda: open_network("anvil"), lambda: open_imitation(Imitation(31337))])
def test_anvil_writesNothingHome(
    start: Callable[[], AbstractContextManager[Network]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write the state after each block, gigabytes in a long run, and leave them there."""
    skip_without("anvil")
    monkeypatch.setenv("HOME", str(tmp_path))
    with start() as network:
        web3 = network.connect()
        web3.provider.make_request("anvil_mine", [hex(600)])  # type: ignore[arg-type]
        assert web3.eth.block_number == 600
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_open_endsAfterAnException(name: str) -> None:
    urls: list[str] = []

    def interrupted() -> None:
        with open_network(name) as network:
            urls.append(str(network.rpc_url))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not answers(urls[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_open_leavesNoOrphan(name: str, number: signal.Signals) -> None:
    code = (
        "import time\n"
        "from gridpact.chain.networks import open_network\n"
        f"with open_network({name!r}) as network:\n"
        "    print(network.rpc_url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert answers(url)
        process.send_signal(number)
    wait_for_silence(url)


def test_open_usesANodeThatRunsAndLeavesIt(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_network(name) as started:
        assert started.rpc_url is not None
        with open_network(started.rpc_url) as network:
            manager = network.manager()  # paid by an unlocked account
            key = "0x" + "42" * 32
            network.fund([address_of(key)], 10**18)
            monkeypatch.setenv(MANAGER_KEY, key)
            assert network.manager().address == address_of(key) != manager.address
            network.fund([manager.address], 10**16)
        assert answers(started.rpc_url)


def test_open_takesSeveralEndpointsOfOneChain(name: str) -> None:
    with open_network(name) as started:
        url = str(started.rpc_url)
        again = url.replace("127.0.0.1", "localhost")
        with open_network(f"{url}, {again}") as network:
            assert network.rpc_urls == (url, again)
            assert (network.rpc_url, network.chain_id) == (url, started.chain_id)


def test_open_failsOnEndpointsOfDifferentChains(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answering:
        def __init__(self, url: str, patience: float) -> None:
            self.eth = self
            self.chain_id = int(url[-1])

    monkeypatch.setattr(networks, "connect", Answering)
    with (
        pytest.raises(InputError, match=r"Of the 3 nodes, number 3 is of chain 2, the first of chain 1"),
        open_network("ws://here:1,ws://here:1,ws://here:2"),
    ):
        pass


def test_open_quotesAChainThatDoesNotStart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "node_modules" / ".bin" / "anvil"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'Error: out of luck'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChainError, match="anvil did not start: Error: out of luck"), open_network("anvil"):
        pass


def test_open_endsAChainThatNeverAnswers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "node_modules" / ".bin" / "anvil"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    pid, now = tmp_path / "pid", time.monotonic

    def later() -> float:
        """Than a chain is waited for, once it runs."""
        return now() + 2 * networks.START_SECONDS * (pid.exists() and pid.read_text().endswith("\n"))

    monkeypatch.setattr(networks, "time", SimpleNamespace(monotonic=later, sleep=time.sleep))
    with pytest.raises(ChainError, match="did not start"), open_network("anvil"):
        pass
    stat = Path(f"/proc/{pid.read_text().strip()}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_open_failsWithoutTheProgram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "__file__", str(tmp_path / "networks.py"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(InputError, match="needs the npm package `ganache`"), open_network("ganache"):
        pass


@pytest.mark.parametrize("name", ["mainnet", "ftp://localhost"])
def test_open_failsOnUnknownNetwork(name: str) -> None:
    with pytest.raises(InputError, match=r"http://"), open_network(name):
        pass


def test_connect_saysThatNobodyAnswers() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    web3 = connect(f"http://user:secret@127.0.0.1:{port}/key", patience=0.1)
    with pytest.raises(ChainError, match=f"127.0.0.1:{port} does not answer") as caught:
        web3.eth.chain_id  # noqa: B018
    assert "secret" not in str(caught.value)
    assert "key" not in str(caught.value)


def test_manager_failsOnABadKey(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="private key is not valid") as caught:
        address_of("0x1234")
    assert "1234" not in str(caught.value)
