"""The manager's, the supplier's and the metering account's side."""
