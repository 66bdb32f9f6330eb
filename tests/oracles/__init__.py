"""Our mathematics against other implementations of the same methods."""
