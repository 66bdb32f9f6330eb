"""Capabilities: the only thing a door may call, each declared once."""
