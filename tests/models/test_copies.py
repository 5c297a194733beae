"""Overfitting is noticed though only some of the training pictures are searched for copies."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.diagnosis import Cause
from models.environment import NumericEnvironment
from models.evaluation import Judge
from models.guards import Continue, RollBack, decide
from models.panel import MOST_NEIGHBOURS, Panel
from models.signs import COPIED, LEAST_COPIED, Signs
from models.state import TrainingState
from tests.models.conftest import MakeSpec
from tests.models.test_diagnosis import EVALUATION
from tests.models.test_evaluation import Means, noise
from tests.models.test_guards import GROWN, WATCH, WELL

TRAINING, HELD_OUT = 12_000, 1_000


def test_run_that_copies_twelve_thousand_pictures_evenly_overfits(
    make_spec: MakeSpec, environment: NumericEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, pixels = make_spec(), noise(TRAINING + 2 * HELD_OUT)
    training, held_out, others = np.split(np.arange(len(pixels)), [TRAINING, TRAINING + HELD_OUT])
    panel = Panel.of(training, held_out, spec.seed)
    assert panel is not None
    judge, state = Judge(spec, pixels, panel, Means()), TrainingState.fresh(spec, environment)

    def signs(made: NDArray[np.int64]) -> Signs:
        def rendered(_judge: object, _state: object, _generator: object, latents: Tensor) -> Tensor:
            return torch.from_numpy(pixels[np.resize(made, len(latents))])

        monkeypatch.setattr(Judge, "_rendered", rendered)
        found = judge.evaluate(state, {})
        assert found is not None
        assert (found.searched, found.training_pictures) == (MOST_NEIGHBOURS, TRAINING)
        told = Signs.of(found)
        shown = {"memorised": told.memorised, "memorised_limit": told.memorised_limit}
        return WELL.model_copy(update=shown)

    copying = decide(WATCH, signs(training[::11]), GROWN)
    assert isinstance(copying, RollBack)
    assert copying.cause is Cause.OVERFITTING
    assert "limit 30%" in copying.detail
    assert isinstance(decide(WATCH, signs(others), GROWN), Continue)


@pytest.mark.parametrize(
    ("searched", "training_pictures", "limit"),
    [
        (400, 400, COPIED),
        (None, None, COPIED),
        (4096, 5461, 0.3875),
        (4096, 8192, LEAST_COPIED),
        (4096, 13_600, LEAST_COPIED),
        (4096, 13_700, COPIED),
    ],
)
def test_limit_falls_with_the_share_that_is_searched_but_not_to_what_may_be_chance(
    searched: int | None, training_pictures: int | None, limit: float
) -> None:
    update = {"searched": searched, "training_pictures": training_pictures}
    assert Signs.of(EVALUATION.model_copy(update=update)).memorised_limit == pytest.approx(limit, abs=1e-4)
