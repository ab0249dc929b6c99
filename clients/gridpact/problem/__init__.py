"""What is optimal: the problem of one node, and of the whole community in one place."""
