"""Seeweb: Italian GPU cloud servers, list prices in euro."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Seeweb(PublishedOnly):
    """Seeweb, from its published prices."""

    name, title, website = "seeweb", "Seeweb", "https://www.seeweb.it"
    source_url = "https://www.seeweb.it/en/products/cloud-server-gpu"
