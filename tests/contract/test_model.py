"""Random interleavings of gateway, owners, reaper, rebuild and clock, run by the real script in a real Redis.

After every step, the reply and everything in Redis must match the plain model, and the laws must hold,
whatever the model says. A failing walk is shortened and reported as code.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest

from contract.job import TRANSITIONS, State
from tests.conftest import proof
from tests.contract.records import Records
from tests.contract.walk import RULES, Step, Walk

STEPS = proof(3_000, 100_000)
STEPS_OF_A_WALK = 100
SEED = proof(1, Random().getrandbits(32))


def shortened(steps: list[Step], fails: Callable[[list[Step]], bool]) -> list[Step]:
    """Simplify a failing walk until every simpler one passes."""
    while (found := next(filter(fails, _simpler(steps)), None)) is not None:
        steps = found
    return steps


@pytest.mark.timeout(proof(600, 3600))
def test_script_agrees_with_the_model(records: Records) -> None:
    random, seen = Random(SEED), Counter[str]()

    def fails(steps: list[Step]) -> bool:
        try:
            Walk(records, seen).take(steps)
        except Exception:
            return True
        return False

    while seen["steps"] < STEPS:
        steps = [_chosen(random) for _ in range(STEPS_OF_A_WALK)]
        if fails(steps):
            shortest = shortened(steps, fails)
            Walk(records, seen).take(shortest)
            pytest.fail(f"failed once and not again: {shortest}")
    assert seen["steps"] >= STEPS
    assert {f"{origin} to {to}" for origin in State for to in TRANSITIONS[origin]} <= set(seen)


def _simpler(steps: list[Step]) -> Iterator[list[Step]]:
    """Yield the walk without a portion, large ones first; then with the first choice for one argument."""
    portion = len(steps)
    while portion:
        for start in range(0, len(steps), portion):
            yield steps[:start] + steps[start + portion :]
        portion //= 2
    for at, (name, arguments) in enumerate(steps):
        for nth, choices in enumerate(RULES[name][1]):
            if arguments[nth] != choices[0]:
                plainer = (*arguments[:nth], choices[0], *arguments[nth + 1 :])
                yield [*steps[:at], (name, plainer), *steps[at + 1 :]]


def _chosen(random: Random) -> Step:
    name = random.choices(list(RULES), [weight for weight, _ in RULES.values()])[0]
    return name, tuple(random.choice(choices) for choices in RULES[name][1])
