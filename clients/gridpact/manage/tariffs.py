"""A supplier's side: its tariff beside those of others, before it is published."""

from __future__ import annotations

from collections.abc import Mapping

from gridpact.chain.encoding import decode_fees, decode_tariff
from gridpact.community.doubts import ask


def check_beside(tariff: bytes, others: Mapping[str, bytes]) -> None:
    """What one supplier's customers buy of it those of another may be paid for by theirs: two who sell each other what
    neither has earn the difference from who pays more.

    Args:
        others: tariffs of the round, by supplier.

    Raises:
        InputError: the tariff pays more for feed-in, less its fee on what comes from neighbours, than energy costs by
            another one, or by itself.
    """
    imported, fed_in = decode_tariff(tariff)
    fees = decode_fees(tariff)
    charged = (0,) * len(imported) if fees is None else fees.traded_micro
    every = {"it": imported} | {f"the supplier {supplier}": decode_tariff(one)[0] for supplier, one in others.items()}
    for who, costs in every.items():
        for step, (pays, fee, cost) in enumerate(zip(fed_in, charged, costs, strict=True)):
            if pays - fee > cost:
                raise ask(
                    "crossing",
                    f"the tariff pays {pays / 1e6:g} for what is fed in at step {step}, and {who} asks {cost / 1e6:g} "
                    "there, so that two who sell each other what neither has would earn the difference: pay less",
                )
