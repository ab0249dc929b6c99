"""A day on a chain, from the forward to the last payment."""
