"""JarvisLabs: GPU instances, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class JarvisLabs(PublishedOnly):
    """JarvisLabs, from its published prices."""

    name, title, website = "jarvislabs", "JarvisLabs", "https://jarvislabs.ai"
    source_url = "https://jarvislabs.ai/pricing"
