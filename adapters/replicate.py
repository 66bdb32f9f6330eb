"""Replicate: hardware behind models, billed by the second; its API lists the hardware without prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Replicate(PublishedOnly):
    """Replicate, from its published prices."""

    name, title, website = "replicate", "Replicate", "https://replicate.com"
    source_url = "https://replicate.com/pricing"
