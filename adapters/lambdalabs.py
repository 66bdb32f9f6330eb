"""Lambda: GPU cloud instances, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class LambdaLabs(PublishedOnly):
    """Lambda, from its published prices."""

    name, title, website = "lambdalabs", "Lambda", "https://lambda.ai"
    source_url = "https://lambda.ai/pricing"
