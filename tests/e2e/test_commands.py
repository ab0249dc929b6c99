"""Every block of shell commands in the documentation is run as it stands, or says above it why not.

`make test` runs those that take little; `make commands` sets GRIDPACT_COMMANDS and runs all others that can be.
"""

from __future__ import annotations

import datetime
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from shell_blocks import COMMAND, FENCE, GENERAL, LANGUAGES, MARK, ROOT, Session, Tried, blocks, pages

ALL = "GRIDPACT_COMMANDS" in os.environ
ANVILS_FIRST = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""The key of the first account of every Anvil."""
YESTERDAY = str(datetime.date.today() - datetime.timedelta(days=1))


with socket.socket() as one, socket.socket() as other, socket.socket() as third:
    one.bind(("127.0.0.1", 0))
    other.bind(("127.0.0.1", 0))
    third.bind(("127.0.0.1", 0))
    PORT, METRICS, SECOND = (free.getsockname()[1] for free in (one, other, third))


@dataclass(frozen=True)
class Reader:
    """What a page leaves to whoever reads it."""

    filled: Mapping[str, str] = field(default_factory=dict)
    """Words that stand for the reader's own."""
    before: Mapping[str, str] = field(default_factory=dict)
    """What the reader has done when a block comes that begins so."""


CHAIN = """
export GRIDPACT_RPC_URL=http://127.0.0.1:{port} GRIDPACT_KEYSTORE_PASSWORD='of a test only'
anvil --silent --port {port} {options} > anvil.txt 2>&1 &
python - <<'END'
import os, time
from web3 import Web3
while not Web3(Web3.HTTPProvider(os.environ["GRIDPACT_RPC_URL"])).is_connected():
    time.sleep(0.1)
END
"""
COMMUNITY = "deploy/container/setup $PWD/community $PWD/deploy/pilot\n"
"""The sample of a pilot, as the containers set it up."""
KEYS = """
for role in manager supplier metering; do
  gridpact keystore new $role.json
  python - $(gridpact keystore address $role.json) <<'END'
import os, sys
from web3 import Web3
web3 = Web3(Web3.HTTPProvider(os.environ["GRIDPACT_RPC_URL"]))
web3.eth.send_transaction({"from": web3.eth.accounts[0], "to": sys.argv[1], "value": 10**19})
END
done
cp -r deploy/pilot/community our
"""
NODES = """
gridpact deploy --network sepolia --community our/community.toml --supplier $SUPPLIER --metering $METERING \\
  --keystore manager.json
echo node,address > accounts.csv
for node in 0 1 2 3 4; do
  partners=$(for other in 1 2 3 4; do [ $other = $node ] || echo $other; done | paste -sd, -)
  options="--partners $partners --name house_$node"
  [ $node != 0 ] || options="--feeder our/feeder.csv"
  gridpact household new --node $node --out node-$node --contracts deploy/records/sepolia.json \\
    --rpc $GRIDPACT_RPC_URL $options
  forecast="\\"python3\\", \\"$PWD/deploy/pilot/forecast.py\\", \\"house_$node\\", \\"{day}\\""
  sed -i -e "s|^file = \\"forecasts/.*|command = [$forecast]|" -e "/^metrics_port/d" node-$node/household.toml
  devices=deploy/pilot/devices/house_$node.toml
  [ ! -e $devices ] || cat $devices >> node-$node/household.toml
  echo $node,$(gridpact keystore address node-$node/keystore.json) >> accounts.csv
done
"""
START = """
for node in 0 1 2 3 4; do gridpact node --config node-$node/household.toml > node-$node/log.txt 2>&1 & done
"""
METERS = """
sleep 60  # all trades are stated
python deploy/pilot/meters.py 2026-11-22 node-1 node-2 node-3 node-4 > readings.csv
"""
FILLED_IN = """
rpc=$GRIDPACT_RPC_URL
place="--network local --rpc $rpc --contracts community/contracts.json --keystore community/manager.json"
place="$place --password-file community/password --yes"
gridpact expel 3 $place
printf 'node,address\\n3,%s\\n' $(gridpact keystore address node/keystore.json) > accounts.csv
gridpact enrol accounts.csv $place --ether 1 --test-tokens 100
forecast="\\"python3\\", \\"$PWD/deploy/pilot/forecast.py\\", \\"house_3\\", \\"{day}\\""
sed -i -e "s|^file = \\"forecasts/.*|command = [$forecast]|" -e "s|^rpc = .*|rpc = \\"$rpc\\"|" node/household.toml
sed -i "s|^metrics_port = .*|metrics_port = METRICS|" node/household.toml
cat deploy/pilot/devices/house_3.toml >> node/household.toml
"""
TABLES = """
python - <<'END'
import re
from pathlib import Path
Path("canal4").mkdir()
page = Path("docs/community-file.md").read_text(encoding="utf-8").partition("## `community.toml`")[0]
for name, table in re.findall(r"^`([a-z_]+[.](?:toml|csv))`\\n\\n```\\w+\\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
    Path("canal4", name).write_text(table, encoding="utf-8")
END
"""
READERS = {
    "README.md": Reader(before={".venv/bin/gridpact community new": "cp docs/examples/readings.csv ."}),
    "docs/aggregator.md": Reader(
        before={"gridpact aggregator plan": "cp clients/gridpact/community/cases/eulv55/network.dss Master.dss"}
    ),
    "docs/community-file.md": Reader(before={".venv/bin/gridpact run --case canal4": TABLES}),
    "docs/deployment.md": Reader(
        {
            "GRIDPACT_RPC_URL=...": "GRIDPACT_RPC_URL=$GRIDPACT_RPC_URL",
            "GRIDPACT_MANAGER_KEY=...": f"GRIDPACT_MANAGER_KEY={ANVILS_FIRST}",
            "anvil --prune-history 128 &": f"anvil --port {SECOND} --prune-history 128 & sleep 20",
            "tariff --community our/community.toml": "tariff --community our/community.toml --day 12-22",
            "2026-11-22": YESTERDAY,
        },
        {
            "export GRIDPACT_RPC_URL": CHAIN.format(port=PORT, options="--chain-id 11155111 --block-time 0.2") + KEYS,
            "gridpact enrol": NODES,
            "gridpact round tariff": START,
            "gridpact readings vouch": METERS,
            "anvil --prune-history": f"export GRIDPACT_RPC_URL=http://127.0.0.1:{SECOND}\n",
        },
    ),
    "docs/live.md": Reader(
        {
            "--network NAME": "--contracts community/contracts.json --rpc $GRIDPACT_RPC_URL --port 0",
            "--household FOLDER": "--household community/node-1 --port 0",
            "run --live": "run --live --port 0 --case tiny3 --scenario t",
        },
        {"gridpact live": CHAIN.format(port=PORT, options="") + COMMUNITY},
    ),
    "docs/node.md": Reader(
        {"/var/lib/gridpact/node": "node", "record.json": "community/contracts.json"},
        {
            "gridpact household new": "export GRIDPACT_KEYSTORE_PASSWORD='of a test only'\n",
            "gridpact household check": CHAIN.format(port=PORT, options="")
            + COMMUNITY
            + FILLED_IN.replace("METRICS", str(METRICS)),
        },
    ),
    "docs/own-data.md": Reader(
        before={
            ".venv/bin/gridpact community new --from load.csv": (
                "python - <<'END'\n"
                "import pandas as pd\n"
                "table = pd.read_csv('docs/examples/readings.csv').fillna(0)\n"
                "for name, columns in (('load', ['import_kwh']), ('pv', ['pv_kwh'])):\n"
                "    wide = table.pivot_table(index='time', columns='household', values=columns[0])\n"
                "    wide.to_csv(f'{name}.csv')\n"
                "END\n"
                "rm -rf street\n"
            )
        }
    ),
    "docs/what-if.md": Reader(  # some points end beyond a limit, as the page tells, and then so does the command
        {
            f"{command} --case fontana16 --days 06-10": f"{command} --case fontana16 --days 06-10 || [ $? = 1 ]"
            for command in ("penetration", "sensitivity")
        }
    ),
    "docs/study.md": Reader(
        {"path/to/your/folder": "street"},
        {
            ".venv/bin/gridpact study ": (
                "gridpact community new --from docs/examples/readings.csv --out street --price 0.3"
            )
        },
    ),
}


def _wanted(page: str) -> bool:
    return any(block.tried is Tried.NOW or (ALL and block.tried is Tried.LATER) for block in blocks(page))


@pytest.mark.parametrize("page", [page for page in pages() if _wanted(page)])
def test_page_isRun(page: str, tmp_path: Path) -> None:
    reader = READERS.get(page, Reader())
    session = Session(tmp_path, reader.filled)
    try:
        for block in blocks(page):
            if block.tried is Tried.NEVER or (block.tried is Tried.LATER and not ALL):
                continue
            for begin, code in reader.before.items():
                if block.code.startswith(begin):
                    session.prepare(code)
            session.run(block)
    finally:
        session.close()


@pytest.mark.parametrize("page", pages())
def test_block_saysWhatItIs(page: str) -> None:
    """A mark stands above a block of shell; what is fenced says its language, and none other hides a command."""
    text = (ROOT / page).read_text(encoding="utf-8")
    marks = re.findall(r"^ *(<!-- (?:not run|run by make|until)\b.*)", text, re.MULTILINE)
    assert all(MARK.fullmatch(mark.strip()) for mark in marks), marks
    assert len(marks) == sum(block.tried is not Tried.NOW for block in blocks(page))
    for fence in FENCE.finditer(text):
        assert fence["language"] in LANGUAGES, f"{page}: a block begins with {fence['code'][:40]!r}: say its language"
        if fence["language"] == "text" and not GENERAL.search(fence["code"]):
            assert not COMMAND.search(fence["code"]), f"{page}: a block of text has commands, and is not in sh"


def test_readers_areOfBlocksThatAreThere() -> None:
    for page, reader in READERS.items():
        code = [block.code for block in blocks(page)]
        assert all(any(words in one for one in code) for words in reader.filled), page
        assert all(any(one.startswith(begin) for one in code) for begin in reader.before), page
