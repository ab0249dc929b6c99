"""The reports of what-ifs."""
