"""Which limit breaks first as panels grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridpact.community.networks.files import read_network
from measure.first_limit import carried_a, first_limits, main, ratings_of, with_ratings

TEXT = """clear
new circuit.x basekv=0.4 pu=1.0 phases=3 bus1=b0
new linecode.c nphases=3 r1=0.641 x1=0.08 r0=0.641 x0=0.08 units=km
new line.L1 bus1=b0 bus2=b1 linecode=c length={length} units=km
new load.a bus1=b1.1 phases=1 kv=0.23094 kw=1 pf=1
new load.b bus1=b1.2 phases=1 kv=0.23094 kw=1 pf=1
new load.c bus1=b1.3 phases=1 kv=0.23094 kw=1 pf=1
set voltagebases=[0.4]
calcvoltagebases
solve
"""


@pytest.mark.parametrize(("square", "ohm_per_km", "ampere"), [(35, 0.868, 123), (95, 0.320, 215), (240, 0.125, 364)])
def test_carried_isAsInTheStandard(square: int, ohm_per_km: float, ampere: float) -> None:
    assert carried_a(ohm_per_km) == pytest.approx(ampere, rel=0.03), square


@pytest.mark.parametrize(("length", "first"), [(0.01, "cable"), (1.0, "voltage")])
def test_longCablesBreakTheirVoltageFirst(
    length: float, first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: a balanced home a phase. The cable is full at 144 A, 33.3 kW and a little more where the voltage is
    higher; the voltage of the long one is 1.10 at 0.1 * 1.10 * 230.94^2 / 0.641 W."""
    path = tmp_path / "net.dss"
    path.write_text(TEXT.format(length=length))
    network, rated = with_ratings(read_network(path), path)
    assert rated == "resistance"
    assert ratings_of(tmp_path) == {"l1": pytest.approx(144.0)}
    found = first_limits(network.feeder([load.connection for load in network.loads], 0.9, 1.1), "net", rated)
    assert found.first == first
    if first == "voltage":
        assert found.voltage_kw == pytest.approx(0.5 + 0.1 * 1.1 * 230.94**2 / 641, abs=0.15)
    else:
        assert found.cable_kw == pytest.approx(0.5 + 0.23094 * 144, rel=0.01)
    assert main([str(path), str(tmp_path / "none.dss"), "--json", str(tmp_path / "found.json")]) == 0
    told = capsys.readouterr()
    assert f"{first} first: 1" in told.out
    assert "none.dss" in told.err
