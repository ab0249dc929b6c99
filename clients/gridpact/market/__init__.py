"""Mechanisms: how agreement is reached."""
