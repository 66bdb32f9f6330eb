"""Speed bounds from memory bandwidth and peak arithmetic, and what of them is really reached.

Williams, Waterman and Patterson (2009): work takes no less than its bytes over the bandwidth and its operations over
the dense peak. Decoding one token reads every active weight once and the KV cache of each stream, so batching
multiplies tokens until arithmetic is the bound. What remains between ceiling and measurement is launching the kernels
of each layer: one constant, fitted to 23 published single-stream measurements, meets them with a mean error of 7 %
(16 bit) and 15 % (4 bit); left out one by one 7 and 16 %, card by card 8 and 18 % (`python -m tests.bench.decode`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

from mathcore.figures import physical, physical_or_none

LAYER_SECONDS = 0.000136
"""Overhead of a step for each layer, least squares of log error over all 23 points; it does not depend on the card."""
DEPTHLESS_SHARE = 0.91
DEPTHLESS_SECONDS = 0.0032
"""For a model of unknown depth: bytes / (0.91·bandwidth) + 3.2 ms a token, mean error 8 % (16 bit) and 21 % (4 bit)."""
INTERVAL = {"wide": (0.75, 1.25), "narrow": (0.70, 1.30)}
PREFILL_SHARES = (0.40, 0.50, 0.60)
"""Share of the dense peak that reading a prompt, or any other large forward pass, reaches."""
TRAINING_SHARES = ((8e9, (0.13, 0.25, 0.40)), (70e9, (0.20, 0.27, 0.40)), (405e9, (0.30, 0.35, 0.40)))
"""Share of the dense peak a whole run keeps busy (slow, likely, fast), by parameters. The slow end is what whole
published runs of that size came to (Llama 3.1 model card over 15 T tokens: 8B 14 %, 70B 25 %, 405B 34.5 %); the fast
end what their paper reports while it ran (38 to 43 %)."""


@dataclass(frozen=True, slots=True)
class Speed:
    """An estimate with its interval and the ceiling it can never pass, all per second."""

    low: float
    likely: float
    high: float
    ceiling: float
    bound: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a claimed speed can be true, the ceiling in tokens a second, and why not."""

    plausible: bool
    ceiling: float
    reason: str


def decode_tokens_per_second(
    *,
    active_weight_bytes: float,
    kv_bytes: float,
    flops_per_token: float,
    bandwidth_bytes: float,
    peak_flops: float,
    concurrency: int,
    narrow: bool,
    layers: int | None = None,
) -> Speed:
    """Tokens a second of `concurrency` streams together on cards of summed bandwidth and peak.

    `kv_bytes` is read for each stream, the weights once for all of them; take the cache at half the context for a
    whole request. `narrow`: weights of fewer than eight bits, which scatter more. `layers` gives the overhead of a
    step; without it that of a typical one is taken. Raises ValueError for values not positive. O(1).
    """
    physical_or_none(kv_bytes=kv_bytes)
    physical(
        active_weight_bytes=active_weight_bytes,
        flops_per_token=flops_per_token,
        bandwidth_bytes=bandwidth_bytes,
        peak_flops=peak_flops,
        concurrency=concurrency,
        layers=1 if layers is None else layers,
    )
    by_memory = concurrency * bandwidth_bytes / (active_weight_bytes + concurrency * kv_bytes)
    by_arithmetic = peak_flops / flops_per_token
    ceiling = min(by_memory, by_arithmetic)
    share, overhead = (DEPTHLESS_SHARE, DEPTHLESS_SECONDS) if layers is None else (1.0, layers * LAYER_SECONDS)
    likely = concurrency / (concurrency / (share * ceiling) + overhead)
    low, high = INTERVAL["narrow" if narrow else "wide"]
    return Speed(
        low=likely * low,
        likely=likely,
        high=min(likely * high, ceiling),
        ceiling=ceiling,
        bound="memory bandwidth" if by_memory <= by_arithmetic else "arithmetic",
    )


def weight_bytes_read(
    total_bytes: float,
    active_bytes: float,
    concurrency: int,
    experts: int | None = None,
    experts_used: int | None = None,
) -> float:
    """Bytes of weights one step reads for so many streams: of a mixture, the experts that any of them hits.

    One stream reads the active weights, a crowd all of them. Every stream misses an expert with 1 - used/experts;
    together they miss only what all of them miss. What is shared by all tokens follows from the active share, and is
    read once. Without the counts of experts each stream hits its active share of everything. Raises ValueError for
    values not positive or more experts used than there are. O(1).
    """
    physical(total_bytes=total_bytes, active_bytes=active_bytes, concurrency=concurrency)
    active_bytes = min(active_bytes, total_bytes)
    if experts is None or experts_used is None:
        missed = 1.0 - active_bytes / total_bytes
        return float(total_bytes * (1.0 - missed**concurrency))
    physical(experts=experts, experts_used=experts_used)
    if experts_used > experts:
        raise ValueError("experts_used cannot be more than experts")
    if experts_used == experts or active_bytes == total_bytes:
        return float(total_bytes)
    idle = 1.0 - experts_used / experts
    routed = min(total_bytes, (total_bytes - active_bytes) / idle)
    return float(total_bytes - routed * idle**concurrency)


def compute_bound_batch(*, peak_flops: float, bandwidth_bytes: float, bytes_per_weight: float) -> float:
    """Streams from which on arithmetic, not bandwidth, bounds decoding: peak / bandwidth · b / 2, the cache left aside.

    Raises ValueError for values not positive.
    """
    physical(peak_flops=peak_flops, bandwidth_bytes=bandwidth_bytes, bytes_per_weight=bytes_per_weight)
    return peak_flops / bandwidth_bytes * bytes_per_weight / 2


def prefill_tokens_per_second(
    *, active_parameters: float, peak_flops: float, weight_bytes: float, bandwidth_bytes: float, batch_tokens: float
) -> Speed:
    """Tokens a second read in forward passes of `batch_tokens`: prompts, and texts to embed.

    2·N operations a token at 0.4 to 0.6 of the dense peak, and no faster than the weights can be read once a pass.
    Raises ValueError for values not positive.
    """
    physical(
        active_parameters=active_parameters,
        peak_flops=peak_flops,
        weight_bytes=weight_bytes,
        bandwidth_bytes=bandwidth_bytes,
        batch_tokens=batch_tokens,
    )
    by_arithmetic = peak_flops / (2 * active_parameters)
    by_memory = batch_tokens * bandwidth_bytes / weight_bytes
    low, likely, high = (min(share * by_arithmetic, by_memory) for share in PREFILL_SHARES)
    bound = "arithmetic" if by_arithmetic <= by_memory else "memory bandwidth"
    return Speed(low, likely, high, min(by_arithmetic, by_memory), bound)


def scaled_speed(measured: float, *, peak_ratio: float, bandwidth_ratio: float) -> Speed:
    """What was measured on one card, carried over to another.

    Work bound by arithmetic scales with the peaks, work bound by memory with the bandwidths, and any mixture lies
    between the two: the interval. Their geometric mean is the likely value. Raises ValueError for values not positive.
    """
    physical(measured=measured, peak_ratio=peak_ratio, bandwidth_ratio=bandwidth_ratio)
    low, high = sorted((measured * peak_ratio, measured * bandwidth_ratio))
    return Speed(low, measured * sqrt(peak_ratio * bandwidth_ratio), high, high, "a measurement on another card")


def training_shares(parameters: float) -> tuple[float, float, float]:
    """Share of the dense peak (slow, likely, fast) a run keeps busy, by the size of the model.

    Linear in log N between the sizes of `TRAINING_SHARES`, constant beyond them. Raises ValueError unless positive.
    """
    physical(parameters=parameters)
    sizes = [log(size) for size, _ in TRAINING_SHARES]
    at = min(max(log(parameters), sizes[0]), sizes[-1])
    above = next(index for index in range(1, len(sizes)) if at <= sizes[index])
    weight = (at - sizes[above - 1]) / (sizes[above] - sizes[above - 1])
    before, after = TRAINING_SHARES[above - 1][1], TRAINING_SHARES[above][1]
    slow, likely, fast = (one + weight * (other - one) for one, other in zip(before, after, strict=True))
    return slow, likely, fast


def training_hours(
    *, parameters: float, tokens: float, peak_flops: float, recompute: bool = True, adapter: bool = False
) -> tuple[float, float, float]:
    """Hours to train over `tokens`: (fast, likely, slow) at the shares of the dense peak of all cards together.

    6·N·D operations: two forward, two each for the gradients of activations and weights (Kaplan et al. 2020); two
    more with recomputation; an `adapter` spares those of the frozen weights. `parameters`: the active ones. Raises
    ValueError for values not positive.
    """
    physical(parameters=parameters, tokens=tokens, peak_flops=peak_flops)
    work = (6 + 2 * recompute - 2 * adapter) * parameters * tokens
    slow, likely, fast = (work / (peak_flops * share * 3600) for share in training_shares(parameters))
    return fast, likely, slow


def plausible_decode_claim(
    tokens_per_second: float,
    *,
    weight_bytes: float,
    bandwidth_bytes: float,
    kv_bytes: float = 0.0,
    memory_bytes: float | None = None,
    cards: int = 1,
) -> Verdict:
    """Whether a speed claimed for a single stream can be true: no token comes without reading every active weight.

    `weight_bytes`: active weights (those of `memory_bytes` must fit whole: for a mixture leave it out). A claim at
    the ceiling itself passes. Raises ValueError for values not positive. O(1).
    """
    physical_or_none(kv_bytes=kv_bytes)
    physical(
        tokens_per_second=tokens_per_second,
        weight_bytes=weight_bytes,
        bandwidth_bytes=bandwidth_bytes,
        memory_bytes=1.0 if memory_bytes is None else memory_bytes,
        cards=cards,
    )
    ceiling = cards * bandwidth_bytes / (weight_bytes + kv_bytes)
    if tokens_per_second > ceiling:
        return Verdict(False, ceiling, f"{tokens_per_second:.0f} tokens/s is above the ceiling of {ceiling:.0f}")
    if memory_bytes is not None and weight_bytes + kv_bytes > cards * memory_bytes:
        needed, held = (weight_bytes + kv_bytes) / 1e9, cards * memory_bytes / 1e9
        return Verdict(False, ceiling, f"{needed:.0f} GB do not fit in {held:.0f} GB")
    return Verdict(True, ceiling, "")
