"""Speed bounds from memory bandwidth and peak arithmetic, with the share of them that was really measured.

Decoding one token reads every active weight and the KV cache once, so tokens/s ≤ bandwidth / bytes read; batching
multiplies that until arithmetic is the bound. Published single-stream measurements reach 0.78 of the ceiling with
16-bit weights (0.52 to 0.91) and 0.63 with four-bit weights, with 3.2 ms of overhead a token: hence the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

OVERHEAD_SECONDS = 0.0032
DECODE_SHARE = {"wide": 0.78, "narrow": 0.63}
INTERVAL = (0.65, 1.15)
TRAINING_SHARE = (0.20, 0.30, 0.40)


@dataclass(frozen=True, slots=True)
class Speed:
    """An estimate with its interval and the ceiling it can never pass, all per second."""

    low: float
    likely: float
    high: float
    ceiling: float
    bound: str


def decode_tokens_per_second(
    *,
    active_weight_bytes: float,
    kv_bytes: float,
    flops_per_token: float,
    bandwidth_bytes: float,
    peak_flops: float,
    concurrency: int,
    narrow: bool,
) -> Speed:
    """Tokens a second of `concurrency` streams together on cards of summed bandwidth and peak.

    `kv_bytes` is read for each stream, the weights once for all of them. Raises ValueError for values not positive.
    """
    if not (isfinite(kv_bytes) and kv_bytes >= 0):
        raise ValueError("kv_bytes must be a finite number, zero or above")
    _above_zero(
        active_weight_bytes=active_weight_bytes,
        flops_per_token=flops_per_token,
        bandwidth_bytes=bandwidth_bytes,
        peak_flops=peak_flops,
        concurrency=concurrency,
    )
    by_memory = concurrency * bandwidth_bytes / (active_weight_bytes + concurrency * kv_bytes)
    by_arithmetic = peak_flops / flops_per_token
    ceiling = min(by_memory, by_arithmetic)
    share = DECODE_SHARE["narrow" if narrow else "wide"]
    step = concurrency / (share * ceiling)
    likely = concurrency / (step + (OVERHEAD_SECONDS if narrow else 0.0))
    return Speed(
        low=likely * INTERVAL[0],
        likely=likely,
        high=min(likely * INTERVAL[1], ceiling),
        ceiling=ceiling,
        bound="memory bandwidth" if by_memory <= by_arithmetic else "arithmetic",
    )


def weight_bytes_read(total_bytes: float, active_bytes: float, concurrency: int) -> float:
    """Bytes of weights one step reads for so many streams: of a mixture, the experts that any of them hits.

    Each stream hits a share of the weights of its own; together they miss only what all of them miss.
    """
    _above_zero(total_bytes=total_bytes, active_bytes=active_bytes, concurrency=concurrency)
    missed = 1.0 - min(1.0, active_bytes / total_bytes)
    return float(total_bytes * (1.0 - missed**concurrency))


def training_hours(
    *, parameters: float, tokens: float, peak_flops: float, recompute: bool = True
) -> tuple[float, float, float]:
    """Hours to train over `tokens`: (fast, likely, slow) at 40, 30 and 20 % of the dense peak of all cards together.

    6·N·D operations, 8·N·D with recomputation. Raises ValueError for values not positive.
    """
    _above_zero(parameters=parameters, tokens=tokens, peak_flops=peak_flops)
    work = (8 if recompute else 6) * parameters * tokens
    slow, likely, fast = (work / (peak_flops * share * 3600) for share in TRAINING_SHARE)
    return fast, likely, slow


def _above_zero(**figures: float) -> None:
    for name, figure in figures.items():
        if not (isfinite(figure) and figure > 0):
            raise ValueError(f"{name} must be a finite number above zero")
