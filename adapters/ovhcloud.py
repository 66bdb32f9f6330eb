"""OVHcloud: Public Cloud GPU instances, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class OvhCloud(PublishedOnly):
    """OVHcloud, from its published prices."""

    name, title, website = "ovhcloud", "OVHcloud", "https://www.ovhcloud.com"
    source_url = "https://www.ovhcloud.com/en/public-cloud/prices/"
