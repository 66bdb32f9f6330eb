"""Exoscale: European GPU instances, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Exoscale(PublishedOnly):
    """Exoscale, from its published prices."""

    name, title, website = "exoscale", "Exoscale", "https://www.exoscale.com"
    source_url = "https://www.exoscale.com/pricing/"
