"""Published single-stream measurements, and what the roofline says of each."""

from __future__ import annotations

from typing import Any

from mathcore.roofline import Speed, decode_tokens_per_second

_LAYERS = {"7B": 32, "8B": 32, "70B": 80}
"""Of Llama 2 7B, Llama 3 8B and both 70B models, which all points were measured with."""


def is_narrow(point: dict[str, Any]) -> bool:
    """Whether the weights were of four bits."""
    return "q4" in point["weights"].lower()


def layers_of(point: dict[str, Any]) -> int:
    """Depth of the model that was measured."""
    return _LAYERS[point["weights"].split()[0]]


def bytes_read(point: dict[str, Any]) -> float:
    """Bytes one token reads: the weights, and the cache at half the context."""
    return float(point["weight_bytes"] + point["kv_bytes_per_token"] * point["context_tokens"] / 2)


def estimated(point: dict[str, Any], *, with_depth: bool = True) -> Speed:
    """The estimate for one point. Arithmetic is far from the bound at one stream, so any large peak serves."""
    weights = point["weight_bytes"]
    return decode_tokens_per_second(
        active_weight_bytes=weights,
        kv_bytes=bytes_read(point) - weights,
        flops_per_token=weights * 4,
        bandwidth_bytes=point["bandwidth_gb_s"] * 1e9,
        peak_flops=1e15,
        concurrency=1,
        narrow=is_narrow(point),
        layers=layers_of(point) if with_depth else None,
    )
