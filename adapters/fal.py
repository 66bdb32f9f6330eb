"""fal: serverless GPUs by the second, list prices an hour."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Fal(PublishedOnly):
    """fal, from its published prices."""

    name, title, website = "fal", "fal", "https://fal.ai"
    source_url = "https://fal.ai/pricing"
