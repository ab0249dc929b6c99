"""One whole run: in memory, or on a chain with every node a process."""
