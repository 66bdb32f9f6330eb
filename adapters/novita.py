"""Novita AI: GPU instances on demand and spot, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Novita(PublishedOnly):
    """Novita AI, from its published prices."""

    name, title, website = "novita", "Novita AI", "https://novita.ai"
    source_url = "https://novita.ai/pricing"
