"""How large things may be: what the contracts take, and what follows from it for files and options.

A test compares each with the constant of the same meaning in the sources of the contracts.
"""

from __future__ import annotations

MOST_NODES = 128
"""Of a community: a bitmap has a bit for each (`Nodes.sol`)."""

MOST_HOUSEHOLDS = MOST_NODES - 1
"""Node numbers from 1; node 0 is the grid connection."""

MOST_STEPS = 192
"""Of a round (`Rounds.sol`): a step is a byte in statements, and a day of 7.5 minutes has as many."""

LANES = 12
"""Scalars in a 256-bit word (`Lanes.sol`)."""

LANE_BITS = 21
"""Of a scalar in a word: a sum of two copies."""

POWER_BIAS = 2**19
"""Half of what a copy of P or Q can hold, resolution units; it is added, so that words hold no sign."""

VOLTAGE_BIAS = 2**15
"""The same of a voltage."""

MOST_BID = 2**15 - 1
"""Of either sign, resolution units: a bid takes two bytes (`Books.sol`)."""

MOST_ENTRIES = 4800
"""Bids of all homes where a contract clears all steps at once, homes times steps (`AtOnePrice.sol`)."""

MOST_PRODUCT = 255
"""Products are numbered from 0: eight bits of a round's number (`IRounds.sol`)."""

SUM_BYTES = 3
"""What the bids of a household come to at a step, where a round is sealed (`Seals.sol`): more than 127 households that
bid 16 kW each."""

MOST_PAIRED_BIDS = 2**16
"""Bids of a node, times the others of a contract (`Sizes.sol`)."""

MOST_UNITS = 2**24
"""Units of energy that a member of a community with a manager takes or gives in a step, at most one less
(`CommunityPrice.sol`)."""
