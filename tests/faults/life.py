"""The state machine of the booking life for long: `python -m tests.faults.life --runs 10000 [--seed 1]`."""

from __future__ import annotations

import argparse
import logging
import random
import time

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.life_machine import Life
from tests.life_world import laboratory


def main() -> int:
    """Run it, and print what ran; 1 when a run found something (its steps are printed)."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.life", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args()
    logging.getLogger("gpubroker").setLevel(logging.ERROR)
    logging.getLogger("gpubroker").propagate = False
    began, cpu = time.monotonic(), time.process_time()
    print(f"{chosen.runs} runs of up to {chosen.steps} steps, seed {chosen.seed}", flush=True)
    with laboratory() as (Life.runner, Life.template):
        hypothesis.seed(chosen.seed)(Life)
        run_state_machine_as_test(
            Life,
            settings=settings(
                max_examples=chosen.runs,
                stateful_step_count=chosen.steps,
                deadline=None,
                report_multiple_bugs=False,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
            ),
        )
    seconds, spent = time.monotonic() - began, time.process_time() - cpu
    print(f"clean: {chosen.runs} runs in {seconds:.0f} s, {spent:.0f} s of one processor")
    for what, times in sorted(Life.ran.items(), key=lambda pair: -pair[1]):
        print(f"{times:>9,}  {what}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
