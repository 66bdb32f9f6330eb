"""Thunder Compute: virtualised GPU instances, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class ThunderCompute(PublishedOnly):
    """Thunder Compute, from its published prices."""

    name, title, website = "thundercompute", "Thunder Compute", "https://www.thundercompute.com"
    source_url = "https://www.thundercompute.com/pricing"
