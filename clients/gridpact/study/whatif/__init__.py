"""What if: other shares of devices, other prices and cables, and forecasts that turn out wrong."""
