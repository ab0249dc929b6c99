"""A page that shows a community's rounds as they run, from the chain's own events: reader, store, view, server."""
