"""Verda, formerly DataCrunch: GPU instances on demand and spot, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Verda(PublishedOnly):
    """Verda, from its published prices."""

    name, title, website = "verda", "Verda", "https://verda.com"
    source_url = "https://verda.com/pricing"
