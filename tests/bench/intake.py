"""How long it takes to read plain words: the median over the table of phrases, beside the bound of 5 ms."""

from __future__ import annotations

import statistics
import time

from tests.tools.phrases import PHRASES
from tools.intake import read

BOUND_MS = 5.0
ROUNDS = 20


def main() -> None:
    """Read every phrase several times; print the median, the slowest phrase and both as a share of the bound."""
    for text, _ in PHRASES:
        read(text)
    taken = {}
    for text, _ in PHRASES:
        rounds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            read(text)
            rounds.append((time.perf_counter() - began) * 1000)
        taken[text] = statistics.median(rounds)
    middle, slowest = statistics.median(taken.values()), max(taken.values())
    print(
        f"intake: {len(taken)} phrases, median {middle:.3f} ms = {middle / BOUND_MS:.3f} of the bound of {BOUND_MS} ms"
    )
    print(f"intake: slowest {slowest:.3f} ms = {slowest / BOUND_MS:.3f} of the bound")


if __name__ == "__main__":
    main()
