"""Consensus ADMM: agents, what they hold together, integers on the chain."""
