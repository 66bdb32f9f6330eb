"""Which GPUBroker this is."""

from __future__ import annotations

from importlib import metadata


def product_version() -> str:
    """The installed version, or 0.0.0 in a tree that is not installed."""
    try:
        return metadata.version("gpubroker")
    except metadata.PackageNotFoundError:
        return "0.0.0"
