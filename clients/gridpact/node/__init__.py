"""One household's node: the six steps, its file, what a chain tells of a round, and checking it."""
