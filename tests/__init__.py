"""Tests, mirroring the tree; named as outcomes."""
