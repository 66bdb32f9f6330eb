"""Measures ranking: TOPSIS beside both peers and beside reading the matrix; PROMETHEE, ELECTRE, ranges of weights.

python -m tests.bench.mcda [alternatives]     100,000 unless said; exit code 1 beyond a limit
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from mathcore.borda import borda, places_of_order
from mathcore.explain import explain_topsis
from mathcore.outranking import MOST_ALTERNATIVES, electre1
from mathcore.pareto import undominated
from mathcore.promethee import Preference, promethee
from mathcore.scaling import Floats
from mathcore.scoring import wpm, wsm
from mathcore.stability import weight_ranges
from mathcore.topsis import topsis

ALTERNATIVES = 100_000
LEADERS = 100
WEIGHTS = [0.3, 0.2, 0.1, 0.2, 0.1, 0.1]
BENEFIT = [False, True, True, True, False, True]
TIMES_SCIKIT = 10.0
TIMES_PYMCDM = 100.0
TIMES_FLOOR = 3.0
PROMETHEE_SECONDS = 0.3

Work = Callable[[], object]


def seconds(work: Work, rounds: int) -> float:
    """The median time of one run, after one that is not counted."""
    work()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def in_turns(first: Work, second: Work, rounds: int) -> tuple[float, float]:
    """The best time of both, run one after the other: whatever else the machine does only ever adds."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for at, work in enumerate((first, second)):
            start = time.perf_counter()
            work()
            best[at] = min(best[at], time.perf_counter() - start)
    return best[0], best[1]


def scikit_criteria(columns: Floats) -> Work | None:
    """Its pipeline as its manual shows it, on data it already holds; None where it is not installed."""
    try:
        core, similarity = import_module("skcriteria"), import_module("skcriteria.agg.topsis")
        invert = import_module("skcriteria.preprocessing.invert_objectives")
        scalers = import_module("skcriteria.preprocessing.scalers")
        pipeline = import_module("skcriteria.pipelines")
    except ImportError:
        return None
    signs = [1 if more else -1 for more in BENEFIT]
    data = core.mkdm(columns.T, signs, weights=WEIGHTS)
    steps = pipeline.mkpipe(invert.NegateMinimize(), scalers.VectorScaler(target="matrix"), similarity.TOPSIS())
    return lambda: steps.evaluate(data)


def pymcdm(columns: Floats) -> Work | None:
    """Its TOPSIS with the same normalisation, unchecked; None where it is not installed."""
    try:
        methods, normalizations = import_module("pymcdm.methods"), import_module("pymcdm.normalizations")
    except ImportError:
        return None
    matrix, weights = np.ascontiguousarray(columns.T), np.array(WEIGHTS)
    types = np.where(BENEFIT, 1, -1)
    method: Any = methods.TOPSIS(normalizations.vector_normalization)
    return lambda: method.rank(method(matrix, weights, types, validation=False))


def leaders(name: str, columns: Floats, limited: bool) -> bool:
    """TOPSIS's first hundred beside the floor; whether it is within the limit."""
    scores = topsis(columns, WEIGHTS, BENEFIT).scores
    last = scores.size - LEADERS

    def floor() -> object:
        return columns.sum(), np.argpartition(scores, last)

    ours, least = in_turns(lambda: topsis(columns, WEIGHTS, BENEFIT, top_k=LEADERS), floor, 300)
    limit = f" (limit {TIMES_FLOOR:g})" if limited else ""
    print(
        f"TOPSIS top {LEADERS} of {scores.size:,} × {len(WEIGHTS)}, {name}: "
        f"{ours / least:.2f} x one read and a partition{limit}   [{1000 * ours:.2f} ms, floor {1000 * least:.2f} ms]"
    )
    return not limited or ours <= TIMES_FLOOR * least


def beside_peers(columns: Floats) -> bool:
    """TOPSIS beside each peer that is installed; whether every ratio is reached."""
    ours = seconds(lambda: topsis(columns, WEIGHTS, BENEFIT, top_k=LEADERS), 50)
    whole = seconds(lambda: topsis(columns, WEIGHTS, BENEFIT), 10)
    reached = True
    for name, peer, least in (
        ("scikit-criteria", scikit_criteria(columns), TIMES_SCIKIT),
        ("pymcdm", pymcdm(columns), TIMES_PYMCDM),
    ):
        if peer is None:
            print(f"  NOT COMPARED: {name} is not installed")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = seconds(peer, 3)
        print(
            f"  {theirs / ours:.0f} x as fast as {name} (at least {least:g}), {theirs / whole:.0f} x when all are put "
            f"in order   [{1000 * ours:.2f} and {1000 * whole:.2f} ms, theirs {1000 * theirs:.0f} ms]"
        )
        reached &= theirs >= least * ours
    return reached


def flows(columns: Floats) -> bool:
    """PROMETHEE II by each preference function made of steps and lines; whether all are within the limit."""
    width = float(np.ptp(columns))
    within = True
    for preference in (
        Preference("usual"),
        Preference("u-shape", q=0.05 * width),
        Preference("v-shape", p=0.3 * width),
        Preference("level", q=0.05 * width, p=0.3 * width),
        Preference("linear", q=0.05 * width, p=0.3 * width),
    ):
        chosen = [preference] * len(WEIGHTS)
        taken = seconds(partial(promethee, columns, WEIGHTS, BENEFIT, chosen), 3)
        print(f"PROMETHEE II, {preference.form}: {taken:.3f} s (limit {PROMETHEE_SECONDS})")
        within &= taken <= PROMETHEE_SECONDS
    return within


def others(columns: Floats) -> None:
    """What has no limit of its own, in reads of the matrix."""
    read = seconds(columns.sum, 50)
    few, some = columns[:, :500], np.ascontiguousarray(columns[:, :MOST_ALTERNATIVES])
    places = np.array([places_of_order(np.random.default_rng(at).permutation(columns.shape[1])) for at in range(5)])
    works: dict[str, Work] = {
        "WSM": lambda: wsm(columns, WEIGHTS, BENEFIT),
        "WPM": lambda: wpm(columns, WEIGHTS, BENEFIT),
        "Borda of 5 rankings": lambda: borda(places),
        "exact weight ranges": lambda: weight_ranges(columns, WEIGHTS, BENEFIT),
        "exact weight ranges, 500 alternatives": lambda: weight_ranges(few, WEIGHTS, BENEFIT),
        "20 explained": lambda: explain_topsis(columns, WEIGHTS, BENEFIT, list(range(20))),
        "Pareto front": lambda: undominated(columns, BENEFIT),
        f"ELECTRE I, {some.shape[1]:,} alternatives": lambda: electre1(some, WEIGHTS, BENEFIT),
    }
    for name, work in works.items():
        taken = seconds(work, 3)
        print(f"{name}: {taken / read:,.0f} reads of the matrix   [{1000 * taken:.1f} ms]")


def main(arguments: Sequence[str]) -> int:
    """Run all and say what is beyond its limit."""
    alternatives = int(arguments[0]) if arguments else ALTERNATIVES
    dice = np.random.default_rng(20)
    columns = dice.uniform(1, 100, (len(WEIGHTS), alternatives))
    kept = leaders("evenly spread", columns, limited=True)
    kept &= beside_peers(columns)
    leaders("skewed (log-normal)", dice.lognormal(0, 1, columns.shape), limited=False)
    leaders("five grades each", dice.integers(1, 6, columns.shape).astype(float), limited=False)
    kept &= flows(columns)
    others(columns)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
