"""Pages, plots, tables and words."""
