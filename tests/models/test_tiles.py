"""A generator that makes only a few pictures, over and over, has collapsed, however different these are."""

import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from contract.evaluation import Floor
from models.diagnosis import Cause
from models.environment import NumericEnvironment
from models.evaluation import Judge
from models.features import embedded
from models.guards import Continue, RollBack, decide, regret
from models.panel import Panel
from models.signs import COLLAPSED, REPEATED, Signs
from models.state import TrainingState
from models.watch import Watch
from tests.models.conftest import MakeSpec
from tests.models.test_diagnosis import EVALUATION
from tests.models.test_guards import BEGINNING, GROWN, WATCH, WELL, stuck
from tests.worker.training_child import clothes

PICTURES, HELD_OUT = 400, 100
TILED = WELL.model_copy(update={"repeated": 0.1, "distance": 14})


@pytest.fixture(scope="module")
def shown() -> NDArray[np.uint8]:
    """Clothes (N, 1, 32, 32)."""
    opened = (Image.open(io.BytesIO(content)).convert("L").resize((32, 32)) for content in clothes(PICTURES))
    return np.stack([np.asarray(picture, dtype=np.uint8)[None] for picture in opened])


@pytest.mark.parametrize(
    ("tiles", "are_varied"), [(1, False), (2, False), (5, False), (10, False), (300, True)]
)
def test_few_pictures_of_clothes_are_a_collapse_and_many_are_not(
    shown: NDArray[np.uint8],
    tiles: int,
    *,
    are_varied: bool,
    make_spec: MakeSpec,
    environment: NumericEnvironment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each time with a little noise, as a generator would make them. Alone, ten are as varied as all."""

    def rendered(_judge: object, _state: object, _generator: object, latents: Tensor) -> Tensor:
        made = np.resize(shown[:tiles], (len(latents), *shown.shape[1:])).astype(np.int64)
        made += np.random.default_rng(0).integers(-3, 4, made.shape)
        return torch.from_numpy(made.clip(0, 255).astype(np.uint8))

    monkeypatch.setattr(Judge, "_rendered", rendered)
    spec = make_spec(channels=1)
    panel = Panel.of(np.arange(HELD_OUT, PICTURES), np.arange(HELD_OUT), spec.seed)
    assert panel is not None
    judge = Judge(spec, shown, panel, embedded.load("cpu"))
    found = judge.evaluate(TrainingState.fresh(spec, environment), {})
    assert found is not None
    signs = Signs.of(found)
    assert signs.are_varied is are_varied
    assert tiles < 10 or signs.diversity > 2 * COLLAPSED
    assert found.repeated == pytest.approx(1 / tiles if 1 < tiles < 300 else 0, abs=0.005)


def test_tiles_are_acted_on_once_they_last_or_are_worse_than_what_was_varied() -> None:
    first = decide(WATCH, TILED, GROWN)
    assert isinstance(first, Continue)
    assert first.suspicion
    assert first.suspicion.cause is Cause.MODE_COLLAPSE
    assert "10% of their pairs are nearly the same (limit 5%)" in first.suspicion.detail
    for watch, signs in [(stuck(), TILED), (WATCH, TILED.model_copy(update={"distance": 16}))]:
        decision = decide(watch, signs, GROWN)
        assert isinstance(decision, RollBack)
        assert decision.cause is Cause.MODE_COLLAPSE


def test_young_run_may_repeat_its_first_pictures() -> None:
    young = decide(Watch(), TILED, BEGINNING)
    assert isinstance(young, Continue)
    later = decide(stuck(young.watch), TILED.model_copy(update={"distance": 100}), BEGINNING)
    assert isinstance(later, Continue)


def test_run_that_ends_with_tiles_says_so() -> None:
    ended = decide(Watch(), TILED, GROWN)
    assert isinstance(ended, Continue)
    told = regret(ended.watch)
    assert told
    assert "its best samples are nearly the same in 10% of their pairs (limit 5%): many are alike" in told
    assert f"{COLLAPSED:.0%}" not in told  # their diversity is enough
    older = ended.watch.model_copy(update={"best_repeated_limit": None})
    assert regret(older) == told
    dull = decide(Watch(), TILED.model_copy(update={"diversity": 0.2, "repeated_limit": 0.09}), GROWN)
    assert isinstance(dull, Continue)
    both = "20% as varied as the pictures (limit 35%) and nearly the same in 10% of their pairs (limit 9%)"
    assert both in str(regret(dull.watch))
    recovered = decide(ended.watch, WELL, GROWN)
    assert isinstance(recovered, Continue)
    assert regret(recovered.watch) is None
    assert recovered.watch.best_repeated_limit is None


@pytest.mark.parametrize(
    ("floor", "training_pictures", "limit"),
    [(0.0004, 5000, REPEATED), (0.1, 5000, 0.3), (0.0, 20, 0.15), (None, None, REPEATED)],
)
def test_samples_may_repeat_each_other_if_the_pictures_do_or_are_few(
    floor: float | None, training_pictures: int | None, limit: float
) -> None:
    real = Floor(samples=9, precision=1, recall=1, density=1, coverage=1, diversity=1, repeated=floor)
    update = {"floor": real, "training_pictures": training_pictures, "repeated": 0.1}
    assert Signs.of(EVALUATION.model_copy(update=update)).repeated_limit == pytest.approx(limit)
