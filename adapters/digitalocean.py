"""DigitalOcean: GPU Droplets, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class DigitalOcean(PublishedOnly):
    """DigitalOcean, from its published prices."""

    name, title, website = "digitalocean", "DigitalOcean", "https://www.digitalocean.com"
    source_url = "https://www.digitalocean.com/pricing/gpu-droplets"
