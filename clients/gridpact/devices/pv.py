"""Photovoltaic panels, whose output can be curtailed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gridpact.devices.device import (
    Array,
    Attribute,
    Band,
    Column,
    Device,
    DeviceBlock,
    DeviceError,
    ForecastField,
    Occasion,
    Realised,
    Stated,
    median,
)

MOST_OF_PEAK = 2.0
"""Of their size, panels give less than so much at any time, however cold and bright it is."""


@dataclass(frozen=True)
class Panels(Device):
    """Panels and what they can give on a day; the household may curtail."""

    pv_kw: Array  # (T,)
    pv_kwp: float

    kind: ClassVar[str] = "pv"
    a_name: ClassVar[str] = "PV"
    plural: ClassVar[str] = "PV"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute(
            "peak_kwp", "pv_kwp", unit="kWp", default=0.0, most=300.0, example=4.0,
            meaning="above 0 makes the household a producer: what its panels can give must be told, and it may "
            "curtail. The number itself does not limit the PV output",
        ),
    )  # fmt: skip
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = (
        ForecastField("pv_kw", "what the panels can give; only with PV", in_community=True),
    )
    columns: ClassVar[tuple[Column, ...]] = (Column("curtailed_kw", "PV output that is not used"),)
    bands: ClassVar[tuple[Band, ...]] = (Band("PV used", "orange", "pv_kw", minus="curtailed_kw", is_source=True),)
    uncertain: ClassVar[tuple[str, ...]] = ("pv_kw",)
    varied: ClassVar[bool] = True
    usual: ClassVar[bool] = True

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> Panels | None:
        if not stated["peak_kwp"] > 0:
            return None
        if "pv_kw" not in day.series:
            raise DeviceError("peak_kwp", "there is no pv_kw, and the household has panels: give it, too")
        if (most := float(day.series["pv_kw"].max())) > MOST_OF_PEAK * stated["peak_kwp"]:
            raise DeviceError(
                "peak_kwp",
                f"{stated['peak_kwp']:g} kWp never give {most:g} kW, which pv_kw has: correct one of them, or its unit",
            )
        return cls(day.series["pv_kw"], stated["peak_kwp"])

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        output = cp.Constant(self.pv_kw) if realised is None else realised["pv_kw"]
        curtailed = cp.Variable(steps, nonneg=True)
        return DeviceBlock(
            injection_kw=output - curtailed,
            constraints={"curtailment within the PV output": [curtailed <= output]},
            schedule={"curtailed_kw": curtailed},
        )

    @property
    def is_there(self) -> bool:
        return self.pv_kwp > 0

    @property
    def asset(self) -> str:
        return f"PV {self.pv_kwp:g} kWp"

    def carried_out(
        self, plan: Mapping[str, Array], realised: Mapping[str, Array], step_hours: float
    ) -> dict[str, Array]:
        return {"curtailed_kw": np.minimum(plan["curtailed_kw"], realised["pv_kw"])}

    def available_kw(self, steps: int) -> Array:
        return self.pv_kw

    def scaled(self, factor: float) -> Panels:
        return replace(self, pv_kw=factor * self.pv_kw, pv_kwp=factor * self.pv_kwp)

    @classmethod
    def middle(cls, owned: Sequence[Panels]) -> Panels:
        """The median size, with the mean output of a kWp."""
        size = median(panels.pv_kwp for panels in owned)
        return cls(size * np.mean([panels.pv_kw / panels.pv_kwp for panels in owned], axis=0), size)

    @property
    def in_words(self) -> str:
        return f"panels of {self.pv_kwp:g} kWp (the median) with the mean output a kWp of those that are there"
