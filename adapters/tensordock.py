"""TensorDock: GPU virtual machines of many hosts, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class TensorDock(PublishedOnly):
    """TensorDock, from its published prices."""

    name, title, website = "tensordock", "TensorDock", "https://tensordock.com"
    source_url = "https://tensordock.com/gpu-cloud"
