"""A tariff beside others, before it is published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.chain.encoding import TariffFees, encode_tariff
from gridpact.errors import InputError
from gridpact.manage.tariffs import check_beside

prices = st.lists(st.integers(-100_000, 400_000), min_size=2, max_size=2)


@given(imports=prices, feed_ins=prices, other=prices, fees=st.none() | st.integers(0, 100_000))
def test_tariff_isAskedAboutWhereTwoEarnTheDifference(
    imports: list[int], feed_ins: list[int], other: list[int], fees: int | None
) -> None:
    """Who buys of one supplier for a neighbour to feed in at this one gains, at some step."""
    told = None if fees is None else TariffFees((fees, fees), 0)
    tariff, beside = encode_tariff(imports, feed_ins, told), {"0x12": encode_tariff(other, [-(2**31)] * 2)}
    gains = [
        fed_in - (fees or 0) - min(own, theirs) for own, fed_in, theirs in zip(imports, feed_ins, other, strict=True)
    ]
    if max(gains) > 0:
        with pytest.raises(InputError, match=r"--accept crossing") as asked:
            check_beside(tariff, beside)
        assert "\n" not in str(asked.value)
    else:
        check_beside(tariff, beside)


@pytest.mark.parametrize(
    ("imports", "feed_ins", "fees", "names"),
    [
        ([1, 2**31], [0, 0], None, "The import price of step 1 is 2,147.48, and a tariff holds -2,147.48 to 2,147.48"),
        ([1, 1], [-(2**31) - 1, 0], None, "The feed-in price of step 0"),
        ([1, 1], [0, 0], TariffFees((0, -1), 0), "The fee on what comes from neighbours of step 1 is -1e-06"),
        ([1, 1], [0, 0], TariffFees((2**31, 0), 0), "holds 0 to 2,147.48"),
        ([1, 1], [0, 0], TariffFees((0, 0), 2**48), "The peak fee is 2.81475e"),
        ([1, 1], [0, 0], TariffFees((0, 0), -5), "The peak fee is -5e-06"),
    ],
)
def test_tariff_thatDoesNotFit_isRefusedInOneSentence(
    imports: list[int], feed_ins: list[int], fees: TariffFees | None, names: str
) -> None:
    with pytest.raises(InputError) as refused:
        encode_tariff(imports, feed_ins, fees)
    assert names in str(refused.value)
    assert "\n" not in str(refused.value)
