"""Contracts over time, and what is decided while the day runs."""
