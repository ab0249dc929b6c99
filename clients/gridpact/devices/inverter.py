"""An inverter that gives and takes reactive power."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gridpact.devices.device import Attribute, Column, Device, DeviceBlock, Occasion, Realised, Stated


@dataclass(frozen=True)
class Inverter(Device):
    """An inverter, eqs. (3) and (9)."""

    inverter_kvar: float  # the most reactive power that it gives or takes
    inverter_even_share: float = 0.0  # share of it with which it may even out what the load takes

    kind: ClassVar[str] = "inverter"
    a_name: ClassVar[str] = "an inverter"
    plural: ClassVar[str] = "inverters"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute(
            "reactive_kvar", "inverter_kvar", unit="kvar", default=0.0, most=300.0, example=2.0,
            meaning="the inverter can give or take up to this much reactive power at any step; also without PV",
        ),
        Attribute(
            "even_share", "inverter_even_share", high=1.0, default=0.0, example=1.0,
            meaning="up to this share of it evens out the reactive power of the load over the day, so that the grid "
            "operator does not read the load from it",
        ),
    )  # fmt: skip
    columns: ClassVar[tuple[Column, ...]] = (Column("reactive_kvar", "reactive power that the inverter gives"),)

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> Inverter | None:
        return cls(stated["reactive_kvar"], stated["even_share"]) if stated["reactive_kvar"] > 0 else None

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        generated = cp.Variable(steps)
        return DeviceBlock(
            injection_kw=cp.Constant(np.zeros(steps)),
            constraints={"the inverter's reactive power": [cp.abs(generated) <= self.inverter_kvar]},  # (3)
            schedule={"reactive_kvar": generated},
            injection_kvar=generated,  # (9)
        )

    @property
    def is_there(self) -> bool:
        return self.inverter_kvar > 0

    def scaled(self, factor: float) -> Inverter:
        return replace(self, inverter_kvar=factor * self.inverter_kvar)
