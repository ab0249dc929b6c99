"""What stands behind a meter: one file a device, and one row of the registry."""
