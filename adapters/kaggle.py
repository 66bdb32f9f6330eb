"""Kaggle: free notebooks with a weekly GPU quota; nothing is sold, so there is no offer."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Kaggle(PublishedOnly):
    """No offers, and the reason why."""

    name, title, website = "kaggle", "Kaggle", "https://www.kaggle.com"
    source_url = "https://www.kaggle.com/docs/notebooks"
    notice = (
        "Kaggle sells no GPU time: notebooks get a free weekly quota (two T4 cards or a TPU v5e-8; about 30 "
        "GPU hours a week, unverified; as of 2026-11)."
    )
