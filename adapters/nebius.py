"""Nebius: GPU virtual machines on demand and preemptible, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Nebius(PublishedOnly):
    """Nebius, from its published prices."""

    name, title, website = "nebius", "Nebius", "https://nebius.com"
    source_url = "https://nebius.com/prices"
