"""What the price of a step will turn out to be, given its forecast: a distribution, from a history of both.

Prices are skewed, have spikes and may be negative, so they are fitted where they are not: x = asinh(price / scale) with
the median of what prices were for a scale, x_real = a + b x_forecast + e by least squares, and e as it came (the
transform is the field's for electricity prices: Uniejewski, Weron and Ziel, IEEE Trans. Power Systems 33, 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.devices.device import Array
from gridpact.errors import InputError

FEWEST = 24
"""Pairs of forecast and price that a distribution is fitted to, at least."""


@dataclass(frozen=True, eq=False)
class PriceModel:
    """Prices given their forecasts, both currency/kWh."""

    scale: float
    intercept: float
    slope: float
    errors: Array  # (k,), of the transformed price

    @staticmethod
    def fitted(forecast: Array, price: Array) -> PriceModel:
        """From a history, arrays of one shape.

        Raises:
            InputError: the two are not alike, too few, or not finite.
        """
        x, y = np.ravel(forecast).astype(float), np.ravel(price).astype(float)
        if x.shape != y.shape:
            raise InputError(f"a history has {x.size} forecasts and {y.size} prices; give as many of both")
        if x.size < FEWEST:
            raise InputError(f"a history of {x.size} prices is too short to learn from; give {FEWEST} or more")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise InputError("a history of prices has gaps; leave out what is not known")
        scale = float(np.median(np.abs(y))) or float(np.max(np.abs(y))) or 1.0
        forecasts, prices = np.arcsinh(x / scale), np.arcsinh(y / scale)
        spread = float(np.var(forecasts))
        slope = float(np.mean((forecasts - forecasts.mean()) * (prices - prices.mean())) / spread) if spread else 0.0
        intercept = float(prices.mean() - slope * forecasts.mean())
        return PriceModel(scale, intercept, slope, prices - intercept - slope * forecasts)

    @staticmethod
    def certain() -> PriceModel:
        """What is forecast comes true."""
        return PriceModel(1.0, 0.0, 1.0, np.zeros(1))

    def outcomes(self, forecast: float) -> Array:
        """Equally likely prices of a step, (k,)."""
        x = self.intercept + self.slope * np.arcsinh(forecast / self.scale) + self.errors
        result: Array = self.scale * np.sinh(x)
        return result

    def expected(self, forecasts: Sequence[float] | Array) -> Array:
        """Of every step, of the shape of the forecasts."""
        return np.array([self.outcomes(float(forecast)).mean() for forecast in forecasts])


@dataclass(frozen=True, eq=False)
class ForecastUpdates:
    """How forecasts of a day change as it comes nearer, from a history of successive forecasts.

    u(t, k) = y(t | t - k) - y(t | t - k - 1) is what a forecast is corrected by when it is k steps ahead, and its error
    e(t, k) = y(t | t - k) - y(t) = -(u(t, 0) + ... + u(t, k - 1)).
    """

    updates: Array  # (days, K), u by lead k

    @staticmethod
    def of(forecasts: Array) -> ForecastUpdates:
        """From forecasts by lead, (days, K + 1); lead 0 is what came true.

        Raises:
            InputError: there is nothing to compare.
        """
        values = np.asarray(forecasts, dtype=float)
        if values.ndim != 2 or values.shape[1] < 2 or not len(values) or not np.isfinite(values).all():
            raise InputError("successive forecasts are a table of days by lead, lead 0 what came true, without gaps")
        return ForecastUpdates(values[:, :-1] - values[:, 1:])

    def errors(self, lead: int) -> Array:
        """e(t, lead), (days,)."""
        result: Array = -self.updates[:, :lead].sum(axis=1)
        return result
