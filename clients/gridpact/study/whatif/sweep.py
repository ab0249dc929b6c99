"""What all what-ifs share: points that are solved and kept as the days of a study are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gridpact.community.model import CommunityDay
from gridpact.errors import InfeasibleError
from gridpact.outcome.day import DayOutcome, failed_checks
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.plan import Order, StudySettings


@dataclass(frozen=True)
class DayPoint(Order):
    """A day of a community as it would be, in memory. Many of a what-if's communities share a day, so its file is named
    after all that it is of; two that are alike are solved once."""

    @staticmethod
    def of(community: CommunityDay, scenario: Scenario) -> DayPoint:
        return DayPoint(community, scenario, StudySettings())

    @property
    def name(self) -> str:
        return f"{super().name}_{self.fingerprint[:16]}"


# ---------------------------------------------------------------------- what is kept of the days of a point


@dataclass(frozen=True)
class DayFigures:
    """What a what-if keeps of a day in a scenario. Where there is a failure all that follows it is 0."""

    day: str
    scenario: Scenario
    failure: str | None = None
    failure_status: int = 0  # 3 where no plan keeps the limits, 1 where a solver failed
    cost: float = 0.0  # all bills, losses included
    peak_kw: float = 0.0  # highest import of the feeder
    import_kwh: float = 0.0  # through the grid connection
    feed_in_kwh: float = 0.0
    traded_kwh: float = 0.0
    losses_kwh: float = 0.0
    voltage_min_pu: float = 1.0
    voltage_max_pu: float = 1.0
    iterations: int = 0
    converged: bool = True
    failed_checks: Mapping[str, str] = field(default_factory=dict)  # by how much, see `outcome.day.failed_checks`
    gap: float = 0.0  # of the objective, from the centralised optimum

    @property
    def checks_held(self) -> bool:
        """Whether no check and no solver failed; a day that no plan is feasible on is an answer, too."""
        if self.failure is not None:
            return self.failure_status == InfeasibleError.exit_status
        return self.converged and not self.failed_checks

    @property
    def complaint(self) -> str:
        """What failed, and by how much."""
        return self.failure or "; ".join(f"{check} ({how_much})" for check, how_much in self.failed_checks.items())

    @staticmethod
    def of(outcome: DayOutcome) -> DayFigures:
        if not outcome.feasible:
            return DayFigures(outcome.day, outcome.scenario, outcome.failure, outcome.failure_status, converged=False)
        return DayFigures(
            day=outcome.day,
            scenario=outcome.scenario,
            cost=outcome.cost,
            peak_kw=outcome.peak_kw,
            import_kwh=outcome.import_kwh,
            feed_in_kwh=outcome.feed_in_kwh,
            traded_kwh=outcome.traded_kwh,
            losses_kwh=outcome.losses_kwh,
            voltage_min_pu=outcome.voltage_min_pu,
            voltage_max_pu=outcome.voltage_max_pu,
            iterations=outcome.iterations,
            converged=outcome.converged,
            failed_checks=failed_checks(outcome),
            gap=outcome.gap,
        )


@dataclass(frozen=True)
class PointFigures:
    """The days of one point in one scenario, together."""

    days: tuple[DayFigures, ...]

    @property
    def failures(self) -> tuple[DayFigures, ...]:
        return tuple(day for day in self.days if day.failure is not None)

    @property
    def feasible(self) -> bool:
        """Whether every day has a plan: else sums over days would not compare."""
        return not self.failures

    def total(self, of: Callable[[DayFigures], float]) -> float:
        return sum(of(day) for day in self.days)

    @property
    def cost(self) -> float:
        return self.total(lambda day: day.cost)

    @property
    def peak_kw(self) -> float:
        return max(day.peak_kw for day in self.days)

    @property
    def voltage_min_pu(self) -> float:
        return min(day.voltage_min_pu for day in self.days)

    @property
    def voltage_max_pu(self) -> float:
        return max(day.voltage_max_pu for day in self.days)

    @property
    def iterations(self) -> float:
        """A day, on average."""
        return self.total(lambda day: day.iterations) / len(self.days)

    @property
    def gap(self) -> float:
        """The largest of a day, a fraction."""
        return max((abs(day.gap) for day in self.days), default=0.0)

    @property
    def checks_held(self) -> bool:
        return all(day.checks_held for day in self.days)

    @property
    def verdict(self) -> str:
        """One word: ok, or what is wrong."""
        if not self.feasible:
            return "no feasible plan"
        if not all(day.converged for day in self.days):
            return "not agreed"
        return "ok" if all(day.checks_held for day in self.days) else "a check failed"
