"""Crusoe Cloud: GPU instances; prices seen through a reseller, as its own API has none."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Crusoe(PublishedOnly):
    """Crusoe Cloud, from its published prices."""

    name, title, website = "crusoe", "Crusoe Cloud", "https://www.crusoe.ai"
    source_url = "https://www.crusoe.ai/cloud/pricing"
