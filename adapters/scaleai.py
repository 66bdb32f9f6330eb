"""Scale AI: sells data annotation and model evaluation, no GPU time."""

from __future__ import annotations

from adapters.published import PublishedOnly


class ScaleAi(PublishedOnly):
    """No offers, and the reason why."""

    name, title, website = "scaleai", "Scale AI", "https://scale.com"
    source_url = "https://scale.com/pricing"
    notice = (
        "Scale AI sells annotation and model evaluation, not GPU time, so there is nothing to rent here (as "
        "of 2026-11)."
    )
