"""A household.toml by hand, and what is expected of it."""

from __future__ import annotations

from pathlib import Path

from gridpact.service.settings import Settings, read_settings

HOUSEHOLD = """\
name = "cem"
node = 3

[chain]
record = "contracts.json"
rpc = "http://127.0.0.1:8545"
chain_id = 31337

[key]
keystore = "keystore.json"
password_env = "SECRET"

[community]
scenario = "tg"
partners = [2, 1]
trading_coefficient = 0.1

[load]
power_factor = 0.95

[pv]
peak_kwp = 4

[inverter]
reactive_kvar = 2

[battery]
capacity_kwh = 6
power_kw = 1
round_trip_efficiency = 0.81

[car]
energy_kwh = 6
power_kw = 2
from = "18:00"
to = "06:00"

[tariff]
source = "fixed"
import_price = 0.3

[forecast]
file = "forecasts/{day}.json"

[service]
timezone = "Europe/Amsterdam"
metrics_port = 9464
"""

OPERATOR = """\
node = 0

[chain]
record = "contracts.json"
rpc = "ws://127.0.0.1:8545"

[key]

[community]
scenario = "tg"

[feeder]
file = "feeder.csv"
voltage_min_pu = 0.9
"""

FEEDER = """\
node,parent,length_m,resistance_ohm_per_km,reactance_ohm_per_km
1,0,50,0.641,0.08
2,1,50,0.641,0.08
3,1,50,0.641,0.08
"""


def settings_of(folder: Path, text: str = HOUSEHOLD) -> Settings:
    """What a file with this text says."""
    (folder / "household.toml").write_text(text)
    (folder / "feeder.csv").write_text(FEEDER)
    return read_settings(folder / "household.toml")
