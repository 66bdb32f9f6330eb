"""SaladCloud: containers on shared consumer GPUs, interruptible, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Salad(PublishedOnly):
    """SaladCloud, from its published prices."""

    name, title, website = "salad", "SaladCloud", "https://salad.com"
    source_url = "https://salad.com/pricing"
