"""What came of a day: plans, trades, bills, indicators, checks."""
