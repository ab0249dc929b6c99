"""What a household lets a day cost it: checked before it declares, and again before it deposits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gridpact.chain.encoding import decode_tariff
from gridpact.community.model import Array, Prices
from gridpact.errors import InputError
from gridpact.service.settings import LimitSettings


class OverLimit(InputError):
    """A day would cost more, or earn less, than the household lets it: it keeps out, and stays with its supplier."""


def check_prices(limits: LimitSettings, import_price: Array, feed_in_price: Array, whose: str) -> None:
    """The limits on prices.

    Args:
        import_price, feed_in_price: currency/kWh, (T,).
        whose: named in the error, for example "the published tariff".

    Raises:
        OverLimit: names the first step that is furthest outside.
    """
    dearest, worst = int(np.argmax(import_price)), int(np.argmin(feed_in_price))
    if (price := float(import_price[dearest])) > limits.import_price_max:
        raise OverLimit(
            f"{whose} asks {price:g} per kWh at step {dearest}, more than the {limits.import_price_max:g} of [limits] "
            "import_price_max: ask the supplier, or raise it"
        )
    if (price := float(feed_in_price[worst])) < limits.feed_in_price_min:
        raise OverLimit(
            f"{whose} pays {price:g} per kWh for feed-in at step {worst}, less than the {limits.feed_in_price_min:g} "
            "of [limits] feed_in_price_min: ask the supplier, or lower it"
        )


def check_bill(limits: LimitSettings, bill: float) -> None:
    """The limit on deposits, before anything is agreed: the supplier's bill of the day without an agreement, currency.

    Raises:
        OverLimit: the deposit for it would be more than the household lets it be.
    """
    if bill > limits.deposit_max:
        raise OverLimit(
            f"the day may cost {bill:.2f}, more than the {limits.deposit_max:g} of [limits] deposit_max, so it could "
            "not pay what it agrees on: raise it if that is right"
        )


def units_of(limits: LimitSettings, unit: float) -> int:
    """What a meter's reading may take, token units. Not 0, by which the contract means that there is no limit.

    Args:
        unit: of the token, currency.
    """
    return max(round(limits.deposit_max / unit), 1)


def check_published(limits: LimitSettings, tariff: bytes) -> None:
    """The same of a tariff as it was published.

    Raises:
        OverLimit: see `check_prices`.
    """
    import_price, feed_in_price = (np.array(series) / 1e6 for series in decode_tariff(tariff))
    check_prices(limits, import_price, feed_in_price, "the published tariff")


def bill_of(plan: Mapping[str, Array], prices: Prices, step_hours: float) -> float:
    """What the supplier is paid for a plan, currency; less is earned than paid where it is negative.

    Args:
        plan: `import_kw` and `feed_in_kw`, (T,).
    """
    return step_hours * float(prices.import_price @ plan["import_kw"] - prices.feed_in_price @ plan["feed_in_kw"])
