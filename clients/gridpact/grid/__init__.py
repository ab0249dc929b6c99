"""The network: how currents flow, and what it allows."""
