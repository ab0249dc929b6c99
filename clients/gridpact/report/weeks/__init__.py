"""The report of weeks and years."""
