"""Scaleway: GPU instances, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Scaleway(PublishedOnly):
    """Scaleway, from its published prices."""

    name, title, website = "scaleway", "Scaleway", "https://www.scaleway.com"
    source_url = "https://www.scaleway.com/en/pricing/gpu/"
