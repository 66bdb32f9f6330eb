"""Massed Compute: GPU virtual machines; prices seen through a reseller."""

from __future__ import annotations

from adapters.published import PublishedOnly


class MassedCompute(PublishedOnly):
    """Massed Compute, from its published prices."""

    name, title, website = "massedcompute", "Massed Compute", "https://massedcompute.com"
    source_url = "https://massedcompute.com/pricing/"
