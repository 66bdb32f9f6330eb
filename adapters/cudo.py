"""CUDO Compute: GPU virtual machines, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Cudo(PublishedOnly):
    """CUDO Compute, from its published prices."""

    name, title, website = "cudo", "CUDO Compute", "https://www.cudocompute.com"
    source_url = "https://www.cudocompute.com/pricing"
