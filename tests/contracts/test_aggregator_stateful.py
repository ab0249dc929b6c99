"""Stateful test of the aggregator (being written)."""
