"""Properties of the adversarial accuracy."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.metrics import Accuracy, adversarial_accuracy

Cloud = Callable[..., Tensor]


def test_logits_are_judged_at_the_threshold() -> None:
    real, fake = torch.tensor([1.0, 2, -1, 3]), torch.tensor([-1.0, 1])
    found = adversarial_accuracy(real, fake, scores_are_logits=True)
    assert found == Accuracy(0.75, 0.5, calibrated=False, reals=4, fakes=2)


def test_logit_at_the_threshold_counts_as_half_right() -> None:
    found = adversarial_accuracy(torch.zeros(3), torch.zeros(3), scores_are_logits=True)
    assert found == Accuracy(0.5, 0.5, calibrated=False, reals=3, fakes=3)


def test_higher_threshold_favours_fakes_over_reals(cloud: Cloud) -> None:
    real, fake = cloud(100, size=1).flatten(), cloud(100, size=1, seed=1).flatten()
    low, high = (adversarial_accuracy(real, fake, scores_are_logits=True, threshold=at) for at in (0.3, 0.7))
    assert low.real > high.real
    assert low.fake < high.fake


def test_critic_that_separates_reals_and_fakes_is_always_right(cloud: Cloud) -> None:
    scores = cloud(40, size=1).flatten()
    found = adversarial_accuracy(scores + 1000, scores + 900, scores_are_logits=False)
    assert found == Accuracy(1, 1, calibrated=True, reals=20, fakes=20)


def test_critic_that_separates_nothing_is_right_half_the_time(cloud: Cloud) -> None:
    real, fake = cloud(4000, size=1).flatten(), cloud(4000, size=1, seed=1).flatten()
    found = adversarial_accuracy(real, fake, scores_are_logits=False)
    assert (found.real + found.fake) / 2 == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_inverted_scores_give_one_half_at_any_threshold(cloud: Cloud, threshold: float) -> None:
    scores = cloud(40, size=1).flatten()
    found = adversarial_accuracy(scores, scores + 100, scores_are_logits=False, threshold=threshold)
    assert found == Accuracy(0.5, 0.5, calibrated=True, reals=20, fakes=20)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_identical_scores_give_one_half_at_any_threshold(threshold: float) -> None:
    same = torch.full((10,), 7.0)
    found = adversarial_accuracy(same, same, scores_are_logits=False, threshold=threshold)
    assert found == Accuracy(0.5, 0.5, calibrated=True, reals=5, fakes=5)


def test_only_scores_that_the_calibration_did_not_use_count_as_judged(cloud: Cloud) -> None:
    real, fake = cloud(41, size=1).flatten(), cloud(20, size=1, seed=1).flatten()
    found = adversarial_accuracy(real, fake, scores_are_logits=False)
    assert (found.reals, found.fakes) == (20, 10)


@pytest.mark.parametrize(("slope", "offset"), [(1e-3, 0.0), (1e4, -1e6), (1.0, 1e3)])
def test_calibration_does_not_depend_on_scale_and_offset(cloud: Cloud, slope: float, offset: float) -> None:
    real, fake = cloud(100, size=1).flatten() + 1, cloud(80, size=1, seed=1).flatten()
    plain = adversarial_accuracy(real, fake, scores_are_logits=False)
    moved = adversarial_accuracy(slope * real + offset, slope * fake + offset, scores_are_logits=False)
    assert moved == plain


def test_reals_and_fakes_have_equal_weight_whatever_their_numbers(cloud: Cloud) -> None:
    real, fake = cloud(200, size=1).flatten() + 2, cloud(4000, size=1, seed=1).flatten()
    found = adversarial_accuracy(real, fake, scores_are_logits=False)
    assert found.real == pytest.approx(found.fake, abs=0.1)


def test_calibration_recovers_the_accuracy_of_true_logits(cloud: Cloud) -> None:
    # Two normals, 2 apart: the log odds are 2 s, so the boundary is 0 and 84 % lie on the correct side.
    real, fake = cloud(4000, size=1).flatten() + 1, cloud(4000, size=1, seed=1).flatten() - 1
    found = adversarial_accuracy(real, fake, scores_are_logits=False)
    assert found.real == pytest.approx(0.841, abs=0.02)
    assert found.fake == pytest.approx(0.841, abs=0.02)


@pytest.mark.parametrize("scores", [torch.zeros(1), torch.zeros(4, 1), torch.tensor([0.0, torch.inf])])
def test_invalid_scores_are_refused(scores: Tensor) -> None:
    with pytest.raises(ValueError, match="Scores"):
        adversarial_accuracy(scores, torch.zeros(4), scores_are_logits=False)
