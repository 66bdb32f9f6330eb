"""Denvr Dataworks: GPU servers; prices seen through a reseller."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Denvr(PublishedOnly):
    """Denvr Dataworks, from its published prices."""

    name, title, website = "denvr", "Denvr Dataworks", "https://www.denvr.com"
    source_url = "https://www.denvr.com/pricing"
