"""Tables 4 and 5 of the B-DER final report (2020), to compare with and never to tune to.

Sixteen-odd homes in Amsterdam, 21 to 28 June and 21 to 28 December 2018; its data are not public. `total` is printed
there as import and trade costs together, which counts transfers between neighbours twice in T and TG: what one
household pays another receives. Here it is the import costs.
"""

from __future__ import annotations

from dataclasses import dataclass

from gridpact.problem.scenario import Scenario

SOURCE = "B-DER final report 2020, Tables 4 and 5"

REPORT_ITERATIONS, REPORT_GAP = 300, 0.008
"""Of its Figure 10b: iterations, and the gap to the optimum after them, a fraction."""


@dataclass(frozen=True)
class Published:
    """One column: costs in EUR, energy in kWh, over a week. What the report has no figure for is None."""

    prosumer_import: float
    consumer_import: float
    prosumer_trade: float | None
    consumer_trade: float | None
    exchange_kwh: float | None
    import_kwh: float
    peak_kwh: float

    @property
    def prosumer_total(self) -> float:
        return self.prosumer_import + (self.prosumer_trade or 0.0)

    @property
    def consumer_total(self) -> float:
        return self.consumer_import + (self.consumer_trade or 0.0)

    @property
    def total(self) -> float:
        return self.prosumer_import + self.consumer_import

    @property
    def printed_total(self) -> float:
        """With transfers counted twice, as printed."""
        return self.total + (self.consumer_trade or 0.0)

    @property
    def peak_ratio(self) -> float:
        return self.peak_kwh / self.import_kwh


SUMMER, WINTER = "summer", "winter"

TABLES: dict[str, dict[Scenario, Published]] = {
    SUMMER: {
        Scenario.B: Published(90.17, 92.23, None, None, None, 999, 731),
        Scenario.G: Published(53.46, 30.01, None, None, 495, 788, 273),
        Scenario.T: Published(70.84, 59.59, -37.40, 37.40, 291, 895, 620),
        Scenario.TG: Published(60.06, 58.74, -49.37, 49.37, 468, 856, 302),
    },
    WINTER: {
        Scenario.B: Published(150.82, 151.44, None, None, None, 2638, 1199),
        Scenario.G: Published(126.56, 118.19, None, None, 52, 2333, 843),
        Scenario.T: Published(132.76, 148.02, 0.0, 0.0, 5, 2530, 1140),
        Scenario.TG: Published(136.05, 147.32, 0.0, 0.0, 17, 2455, 876),
    },
}
