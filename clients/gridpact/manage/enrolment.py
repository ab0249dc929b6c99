"""Who is to be enrolled as which node: a table, and what of it is still to be done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.contract import checked_address
from gridpact.community.tables import rows
from gridpact.errors import ContractError, InputError
from gridpact.limits import MOST_NODES


def read_accounts(path: Path) -> dict[int, str]:
    """The accounts in a CSV table with the columns `node` and `address`, by node; other columns are ignored.

    Raises:
        InputError: it names row and column.
    """
    accounts: dict[int, str] = {}
    for row in rows(path, required=("node", "address"), optional=None):
        node = row.integer("node", 0, MOST_NODES - 1)
        try:
            address = str(checked_address(row.text("address")))
        except InputError as error:
            raise row.error("address", str(error)) from None
        if node in accounts:
            raise row.error("node", f"node {node} has an account already; give every node once")
        if address in accounts.values():
            raise row.error("address", f"{address} is another node's already; give every account once")
        accounts[node] = address
    return accounts


def still_to_enrol(aggregator: Aggregator, accounts: Mapping[int, str]) -> dict[int, str]:
    """Those of the accounts that are not enrolled yet.

    Raises:
        InputError: a node or an account is enrolled otherwise, or there are not enough places.
    """
    missing = {}
    enrolled = aggregator.enrolled()
    for node, address in sorted(accounts.items()):
        holder = aggregator.account_of(node) if node in enrolled else None
        if holder == address:
            continue
        if holder is not None:
            raise InputError(f"Node {node} is enrolled with account {holder}: expel it first, or correct the table.")
        other = _node_of(aggregator, address)
        if other is not None:
            raise InputError(f"Account {address} is enrolled as node {other}, not {node}: expel it first.")
        missing[node] = address
    places = aggregator.theta().n - len(enrolled)
    if len(missing) > places:
        raise InputError(
            f"{len(missing)} accounts are to be enrolled, but only {places} of {aggregator.theta().n} places are free:"
            " expel nodes first, or deploy for more (theta.n)."
        )
    return missing


def _node_of(aggregator: Aggregator, address: str) -> int | None:
    try:
        return aggregator.node_of(address)
    except ContractError as error:
        if error.name != "NotEnrolled":
            raise
        return None
