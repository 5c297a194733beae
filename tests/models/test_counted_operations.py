"""The costs that intervals are computed from are those of the operations that torch really does."""

from collections.abc import Iterator

import numpy as np
import pytest

from models.cost import FLOAT32, STATISTICS, Cost
from models.environment import NumericEnvironment
from models.evaluation import Judge
from models.panel import Panel, operations
from models.state import TrainingState
from models.trainer import train
from tests.conftest import proof
from tests.models.conftest import MakeBatches, MakeSpec
from tests.models.counting import MultiplyAdds
from tests.models.test_evaluation import Means, noise

SIZE = {"latent_size": 8, "generator_width": 16, "discriminator_width": 16}
PERIODS = {"critic": 5, "pairs": 4, "rare penalty": 4}
"""After how many steps the costs of steps repeat; of others, after each."""
LOSSES: dict[str, dict[str, object]] = {
    "plain": {},
    "critic": {"objective": "wgan_gp"},
    "pairs": {"objective": "r3"},
    "rare penalty": {"terms": [{"kind": "r1", "every_steps": 4}]},
    "penalties": {"terms": [{"kind": "r1", "every_steps": 1}, {"kind": "r2", "every_steps": 1}]},
    "mmd": {"terms": ["mmd"]},
}


def counted(run: Iterator[object], steps: int) -> int:
    counter = MultiplyAdds()
    with counter:
        for _ in range(steps):
            next(run)
    return counter.count


def cases() -> list[tuple[str, str]]:
    return [("dcgan", losses) for losses in LOSSES] + [("dcgan_fc", "plain"), ("resnet", "pairs")]


@pytest.mark.parametrize(("kind", "losses"), cases())
def test_steps_take_as_many_multiply_adds_as_their_cost_says(
    kind: str, losses: str, make_spec: MakeSpec, make_batches: MakeBatches, environment: NumericEnvironment
) -> None:
    """Up to the gradients of the networks' own inputs, which the cost includes and nothing needs."""
    steps = proof(PERIODS.get(losses, 1), 20)
    spec = make_spec(architecture=SIZE | {"kind": kind}, images=2 * steps, **LOSSES[losses])
    run = train(TrainingState.fresh(spec, environment), make_batches(spec))
    claimed = Cost.of(spec).training * spec.images
    assert 0.95 < counted(run, steps) / claimed <= 1


def test_evaluation_takes_as_many_multiply_adds_as_its_cost_says(
    make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    """Up to the products of the statistics of features, whose cost is a measured time."""
    spec, features = make_spec(architecture=SIZE | {"kind": "dcgan"}, batch_size=32), Means()
    panel = Panel.of(np.arange(64), np.arange(64, 128), spec.seed)
    assert panel is not None
    judge, state = Judge(spec, noise(128), panel, features), TrainingState.fresh(spec, environment)
    judge.evaluate(state, {})  # the first also looks at the reals
    seen = features.seen
    counter = MultiplyAdds()
    with counter:
        judge.evaluate(state, {})
    without_features = operations(Cost.of(spec), panel, 0)
    assert 1 <= counter.count / (without_features - STATISTICS) < 1.02
    assert operations(Cost.of(spec), panel, 1) - without_features == FLOAT32 * (features.seen - seen)
