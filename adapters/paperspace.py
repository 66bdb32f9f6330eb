"""Paperspace, part of DigitalOcean: GPU machines, list prices; its API has no price call."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Paperspace(PublishedOnly):
    """Paperspace, from its published prices."""

    name, title, website = "paperspace", "Paperspace", "https://www.paperspace.com"
    source_url = "https://www.paperspace.com/pricing"
