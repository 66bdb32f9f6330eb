"""On the path of every program a test starts, so that none of them leaves the machine."""
