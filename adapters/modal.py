"""Modal: serverless GPUs by the second, list prices an hour."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Modal(PublishedOnly):
    """Modal, from its published prices."""

    name, title, website = "modal", "Modal", "https://modal.com"
    source_url = "https://modal.com/pricing"
