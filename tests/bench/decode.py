"""Holds the decode estimate against published single-stream measurements: measured, estimated, error, ceiling.

python -m tests.bench.decode

The one fitted constant is fitted anew without each point, and without each card, to tell what the error is on
measurements it has not seen.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from mathcore.roofline import DEPTHLESS_SECONDS, DEPTHLESS_SHARE, INTERVAL, LAYER_SECONDS
from tests.mathcore.decode_points import bytes_read, estimated, is_narrow, layers_of
from tests.mathcore.published import DATA

POINTS = "decode_throughput_points.json"
ONE_CONSTANT = {False: 0.78, True: 0.63}
Point = dict[str, Any]


def fitted(points: Sequence[Point]) -> float:
    """Seconds of overhead a layer, least squares of log error, the bandwidth taken as reached."""
    read = np.array([bytes_read(point) / point["bandwidth_gb_s"] / 1e9 for point in points])
    layers = np.array([layers_of(point) for point in points])
    taken = np.array([1 / point["measured_tokens_per_s"] for point in points])
    found = minimize_scalar(
        lambda x: np.mean(np.log((read + x * layers) / taken) ** 2), bounds=(0, 1e-3), method="bounded"
    )
    return float(found.x)


def seconds(point: Point, constant: float) -> float:
    """Seconds a token with this overhead a layer."""
    return float(bytes_read(point) / (point["bandwidth_gb_s"] * 1e9) + constant * layers_of(point))


def unseen(points: Sequence[Point], same: Callable[[Point, Point], bool]) -> list[float]:
    """Estimate over measurement of each point, the constant fitted without those that are the `same`."""
    ratios = []
    for point in points:
        constant = fitted([other for other in points if not same(point, other)])
        ratios.append(1 / seconds(point, constant) / point["measured_tokens_per_s"])
    return ratios


def table(points: Sequence[Point]) -> None:
    """Every point with its estimate."""
    print(
        f"{'card':14} {'model':12} {'context':>7} {'measured':>9} {'estimate':>9} {'error':>7} {'ceiling':>8}  interval"
    )
    for point in points:
        speed, measured = estimated(point), point["measured_tokens_per_s"]
        inside = "inside" if speed.low <= measured <= speed.high else "OUTSIDE"
        print(
            f"{point['gpu']:14} {point['weights']:12} {point['context_tokens']:7} {measured:9.1f} {speed.likely:9.1f} "
            f"{100 * (speed.likely / measured - 1):+6.1f}% {speed.ceiling:8.1f}  {inside}"
        )


def summary(points: Sequence[Point], name: str, ratios: Sequence[float]) -> None:
    """Mean and worst error of a set of estimates, by width of the weights."""
    line = f"{name:52}"
    for kind, label in ((False, "16 bit"), (True, "4 bit")):
        errors = [100 * abs(ratio - 1) for point, ratio in zip(points, ratios, strict=True) if is_narrow(point) is kind]
        line += f"  {label}: mean {statistics.mean(errors):5.1f} %, worst {max(errors):5.1f} %"
    print(line)


def covered(points: Sequence[Point], ratios: Sequence[float]) -> int:
    """How many measurements lie in the interval around these estimates."""
    count = 0
    for point, ratio in zip(points, ratios, strict=True):
        low, high = INTERVAL["narrow" if is_narrow(point) else "wide"]
        count += low <= 1 / ratio <= high
    return count


def main() -> None:
    """Print the table, the errors and what the constant would be without each point and card."""
    path = DATA / POINTS
    if not path.is_file():
        print(f"NOT MEASURED: {POINTS} is not beside the repository (GPUBROKER_TEST_DATA)")
        return
    points: list[Point] = json.loads(path.read_text(encoding="utf-8"))["points"]
    table(points)
    measured = [point["measured_tokens_per_s"] for point in points]
    above = sum(each > estimated(point).ceiling for each, point in zip(measured, points, strict=True))
    print(f"\nmeasurements above the ceiling: {above} of {len(points)}; estimates above it: "
          f"{sum(estimated(point).likely > estimated(point).ceiling for point in points)}")  # fmt: skip
    print(f"overhead a layer: {LAYER_SECONDS * 1e6:.0f} µs in use, {fitted(points) * 1e6:.0f} µs fitted here")
    summary(points, "as in use", [estimated(p).likely / m for p, m in zip(points, measured, strict=True)])
    one_out = unseen(points, lambda one, other: one is other)
    summary(points, "fitted without the point", one_out)
    card_out = unseen(points, lambda one, other: bool(one["gpu"] == other["gpu"]))
    summary(points, "fitted without the card", card_out)
    depthless = [estimated(p, with_depth=False).likely / m for p, m in zip(points, measured, strict=True)]
    summary(
        points, f"depth unknown: {DEPTHLESS_SHARE} of bandwidth, {DEPTHLESS_SECONDS * 1e3:.1f} ms a token", depthless
    )
    constant = [ONE_CONSTANT[is_narrow(p)] * estimated(p).ceiling / m for p, m in zip(points, measured, strict=True)]
    summary(points, "peer: one share of the ceiling (0.78 and 0.63)", constant)
    print(f"inside the interval: {covered(points, one_out)} of {len(points)} fitted without the point, "
          f"{covered(points, card_out)} without the card")  # fmt: skip


if __name__ == "__main__":
    main()
