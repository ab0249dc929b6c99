"""From what a household knows to what its node plans with: its own forecast, and what is public.

Trading coefficients are made from the household's own row alone, see `own_coefficients`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from gridpact.chain.encoding import decode_fees, decode_tariff
from gridpact.community.model import GRID_CONNECTION, Household, PriceRange, Prices
from gridpact.community.street import PhaseFeeder
from gridpact.community.tables import rows
from gridpact.devices.device import Device, DeviceError, Occasion, Outlook
from gridpact.devices.price_model import PriceModel
from gridpact.devices.registry import KINDS
from gridpact.errors import InputError
from gridpact.limits import MOST_NODES
from gridpact.problem.coefficients import Partner, own_partners
from gridpact.problem.scenario import NetworkAgreement
from gridpact.problem.view import NodeView
from gridpact.service.calls import called_in, kept_calls
from gridpact.service.forecast import Forecast, NoForecast
from gridpact.service.settings import HomeSettings, Settings, TariffSettings


def view_of(
    settings: Settings,
    day: str,
    step_hours: float,
    forecast: Forecast | None,
    prices: Prices,
    enrolled: frozenset[int],
    nodes: int = MOST_NODES,
    doubts: Mapping[int, float] | None = None,
    ranges: Mapping[int, PriceRange] | None = None,
) -> NodeView:
    """What a node negotiates with on a day, in the form `dso` or, without a network, in scenario T.

    Args:
        enrolled: the nodes of the community, of which node 0 answers those on its feeder.
        nodes: of the contracts; what has a higher number on the feeder is a junction.
        doubts: what trading with partners costs besides, see `own_partners`.
        ranges: what trades with those of other suppliers can be paid at, by node.

    Raises:
        NoForecast: the forecast does not fit the household.
    """
    scenario, node = settings.scenario, settings.node
    prices = settings.tariff.charged(prices)
    place = {"parent": node, "children": (), "depth": 0}
    feeder = settings.feeder
    if isinstance(feeder, PhaseFeeder):
        place["children"] = tuple(sorted(enrolled & frozenset(feeder.nodes)))
    elif feeder is not None:
        lines = frozenset(line.node for line in feeder.lines)
        feeder = replace(feeder, junctions=frozenset(node for node in lines if node >= nodes))
        place["children"] = tuple(sorted((enrolled & lines) - {GRID_CONNECTION}))
    elif scenario.has_network:
        place |= {"parent": GRID_CONNECTION, "depth": 1}
    household = None
    partners: tuple[Partner, ...] = ()
    if settings.home is not None:
        assert forecast is not None
        household = household_of(settings, settings.home, step_hours, forecast, prices)
        partners = own_partners(settings.partners, -household.net_load_kw, prices, settings.coefficient, doubts, ranges)
    return NodeView(
        node=node,
        day=day,
        scenario=scenario,
        agreement=NetworkAgreement.DSO,
        step_hours=step_hours,
        prices=prices,
        **place,  # type: ignore[arg-type]
        household=household,
        partners=partners,
        feeder=feeder,
    )


def ranges_of(
    node: int, tariffs: Mapping[int, bytes], nodes: Iterable[int], steps: int, step_hours: float
) -> dict[int, PriceRange]:
    """What trades with others can be paid at, whose tariff is another one than this node's own: by what both know, the
    tariffs of the two suppliers. None where one of the two has no tariff, or one with which nobody plans.

    Args:
        tariffs: by which nodes are settled, as far as they were published.
        nodes: who there is.
    """
    own, ranges = tariffs.get(node), {}
    for other in nodes:
        theirs = tariffs.get(other)
        if other == node or theirs == own:
            continue
        ranges[other] = PriceRange.none(steps)
        if own is not None and theirs is not None:
            with suppress(NoForecast):
                ranges[other] = PriceRange.of(prices_in(own, step_hours), prices_in(theirs, step_hours))
    return ranges


def household_of(
    settings: Settings, home: HomeSettings, step_hours: float, forecast: Forecast, prices: Prices
) -> Household:
    """The household on a day.

    Raises:
        NoForecast: there is PV and no forecast of it, or a device cannot do what the forecast says.
    """
    load = forecast.series["load_kw"]
    pv = forecast.series.get("pv_kw", np.zeros(len(load))) if "pv" in home.devices else np.zeros(len(load))
    outlook = Outlook(prices.import_price, prices.feed_in_price, load - pv)
    model = None
    if settings.forecast is not None and settings.forecast.prices is not None:
        model = price_model(settings.forecast.prices)
    occasion = Occasion(len(load), step_hours, forecast.series, forecast.numbers, outlook, model)
    return Household(
        node=settings.node,
        name=settings.name,
        load_kw=load,
        load_kvar=load * math.tan(math.acos(home.power_factor)),
        devices=tuple(_devices(home, occasion, forecast.day)),
        called=called_in(settings, forecast.day, len(load), step_hours, kept_calls(settings))
        if settings.openadr
        else (),
    )


def _devices(home: HomeSettings, occasion: Occasion, day: str) -> Iterator[Device]:
    for kind, stated in home.devices.items():
        try:
            device = KINDS[kind].of(stated, occasion)
        except DeviceError as error:
            raise NoForecast(f"on {day} {error}; correct the forecast, or [{kind}] in household.toml") from None
        if device is not None:
            yield device


def price_model(path: Path) -> PriceModel:
    """From a table of what prices were forecast as, and came to.

    Raises:
        NoForecast: it cannot be read, or is too short.
    """
    try:
        pairs = [(row.number_in("forecast"), row.number_in("price")) for row in rows(path, ("forecast", "price"), None)]
        forecasts, prices = np.array(pairs, dtype=float).reshape(-1, 2).T
        return PriceModel.fitted(forecasts, prices)
    except InputError as error:
        raise NoForecast(f"[forecast] prices: {error}") from None


def own_prices(tariff: TariffSettings, steps: int, forecast: Forecast | None) -> Prices:
    """The prices of a household that does not take the published ones.

    Raises:
        NoForecast: they are to come from the forecast, which has none.
    """
    if tariff.source == "fixed":
        return Prices(np.full(steps, tariff.import_price), tariff.feed_in_share)
    if forecast is None or "import_price" not in forecast.series:
        raise NoForecast("the forecast has no import_price: give it, or another [tariff] source")
    return Prices(forecast.series["import_price"], tariff.feed_in_share)


def prices_in(tariff: bytes, step_hours: float) -> Prices:
    """The prices and fees that a published tariff stands for.

    Raises:
        NoForecast: see `published_prices`.
    """
    prices, fees = published_prices(*decode_tariff(tariff)), decode_fees(tariff)
    if fees is None:
        return prices
    traded = np.array(fees.traded_micro) / 1e6
    return replace(prices, trade_fee=traded if traded.any() else None, peak_fee=fees.peak_micro / 1e6 * step_hours)


def published_prices(import_micro: Sequence[int], feed_in_micro: Sequence[int]) -> Prices:
    """The prices that a published tariff stands for, 1e-6 currency/kWh: the same at all nodes, to the last bit.

    Raises:
        NoForecast: feed-in pays more than import costs, so that a plan could earn without end.
    """
    kappa, feed_in = np.array(import_micro) / 1e6, np.array(feed_in_micro) / 1e6
    if (above := np.flatnonzero(feed_in > kappa)).size:
        step = int(above[0])
        raise NoForecast(
            f"the published tariff pays {feed_in[step]:g} for feed-in at step {step}, more than import costs there "
            f"({kappa[step]:g}): ask the supplier for another one"
        )
    positive = kappa > 0
    share = float(feed_in[positive].sum() / kappa[positive].sum()) if positive.any() else 1.0
    prices = Prices(kappa, share)
    if not 0 <= share <= 1 or np.abs(prices.feed_in_price - feed_in).max() > 2e-6:
        return Prices(kappa, own_feed_in_price=feed_in)
    return prices
