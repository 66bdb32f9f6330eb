"""Latitude.sh: bare-metal GPU servers, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Latitude(PublishedOnly):
    """Latitude.sh, from its published prices."""

    name, title, website = "latitude", "Latitude.sh", "https://www.latitude.sh"
    source_url = "https://www.latitude.sh/pricing"
