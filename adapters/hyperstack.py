"""Hyperstack (NexGen Cloud): GPU virtual machines, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Hyperstack(PublishedOnly):
    """Hyperstack, from its published prices."""

    name, title, website = "hyperstack", "Hyperstack", "https://www.hyperstack.cloud"
    source_url = "https://www.hyperstack.cloud/gpu-pricing"
