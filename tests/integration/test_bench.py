"""The benchmark program, small: its figures are there and fit together. No time is judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gridpact.community.read import read_community
from gridpact.market.registry import SCENARIOS
from measure.bench import main, waited


def test_command_writesBothFiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figures = tmp_path / "benchmarks.md", tmp_path / "bench.json"
    written_to = ["--out", str(out), "--json", str(figures)]
    assert main(["--cases", "tiny3", "--chains", "--sizes", "4x24", "--splits", "2x4x24", *written_to]) == 0
    written = json.loads(figures.read_text())
    assert [row["scenario"] for row in written["iterations"]] == ["T", "TG", "G"]
    for row in written["iterations"]:
        assert row["to_0_8_percent"] <= row["to_0_1_percent"] <= row["stopped_at"]
        assert abs(row["gap_at_stop"]) <= 1e-3
    agreements = {row["scenario"]: row for row in written["agreements"]}
    assert list(agreements) == [scenario.name for scenario in SCENARIOS]
    assert agreements["TG"]["paid"] < agreements["call auction"]["paid"] < agreements["B"]["paid"]
    assert agreements["B"]["messages"] == 0 < agreements["call auction"]["messages"] < agreements["T"]["messages"]
    (size,) = written["growth"]
    assert (size["households"], size["steps"]) == (4, 24)
    # Two words of 12 steps for each of P and Q, and at most 3 partners x 24 steps x 2 bytes.
    assert 128 <= size["bytes_per_household"] <= 128 + 144
    assert 20_000 < size["gas_per_household"] < 100_000
    assert written["waiting"] == []
    (split,) = written["split"]
    assert (split["feeders"], split["households"], split["steps"]) == (2, 8, 24)
    # Its own bids below go to 4 households, above to one gateway.
    assert split["gateway_bytes"] <= 2 * 24 * (4 + 1)
    assert 0 < split["beyond_kwh"] < split["traded_kwh"]
    assert split["imbalance_kwh"] < 0.05 * split["beyond_kwh"]
    assert out.read_text() in capsys.readouterr().out


def test_waited_isOfOneRound() -> None:
    community = read_community("tiny3")
    row = waited(community.on(community.days[0]), "eth-tester", relay=True)
    assert (row.chain, row.mode) == ("eth-tester", "relayed")
    assert 0 < row.startup_s < row.round_s
    parts = (row.solving_s, row.reading_s, row.sending_s, row.waiting_s)
    assert min(parts) > 0
    assert sum(parts) < row.startup_s + 2 * row.round_s
    assert row.iterations > 5
