"""Genesis Cloud: European GPU instances, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class GenesisCloud(PublishedOnly):
    """Genesis Cloud, from its published prices."""

    name, title, website = "genesiscloud", "Genesis Cloud", "https://www.genesiscloud.com"
    source_url = "https://www.genesiscloud.com/pricing"
