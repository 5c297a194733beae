"""Every loss at scores for which it can be computed by hand."""

import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from contract.objectives import Objective as Parameters
from models.game import Objective
from models.objectives import build

KINDS = ("minimax", "non_saturating", "least_squares", "hinge", "wgan_gp", "r3")
LN2 = math.log(2)
ZEROS, ONES = torch.zeros(4), torch.ones(4)
SURE, WRONG = torch.full((4,), 1e4), torch.full((4,), -1e4)
REAL, FAKE = torch.tensor([0.3, -2.0, 4.0]), torch.tensor([1.5, -0.2, -3.0])


def made(kind: str) -> Objective:
    return build(TypeAdapter[Parameters](Parameters).validate_python(kind))


@pytest.mark.parametrize(
    ("kind", "discriminator", "generator"),
    [
        ("minimax", 2 * LN2, -LN2),
        ("non_saturating", 2 * LN2, LN2),
        ("least_squares", 0.5, 0.5),
        ("hinge", 2.0, 0.0),
        ("wgan_gp", 0.0, 0.0),
        ("r3", LN2, LN2),
    ],
)
def test_losses_at_score_zero(kind: str, discriminator: float, generator: float) -> None:
    objective = made(kind)
    losses = (objective.discriminator_loss(ZEROS, ZEROS), objective.generator_loss(ZEROS, real_scores=ZEROS))
    torch.testing.assert_close(torch.stack(losses), torch.tensor([discriminator, generator]))


@pytest.mark.parametrize(
    ("kind", "real", "fake"), [("least_squares", ONES, ZEROS), ("hinge", ONES, -ONES), ("r3", SURE, WRONG)]
)
def test_discriminator_loss_is_zero_at_its_target(kind: str, real: Tensor, fake: Tensor) -> None:
    assert made(kind).discriminator_loss(real, fake) == 0


def test_wasserstein_loss_is_the_difference_of_the_means() -> None:
    loss = made("wgan_gp").discriminator_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 5.0]))
    assert loss == 0.5


def test_r3_does_not_depend_on_a_shift_of_all_scores() -> None:
    real, fake = torch.tensor([0.5, -1.0]), torch.tensor([0.25, 2.0])
    objective = made("r3")
    assert objective.discriminator_loss(real + 8, fake + 8) == objective.discriminator_loss(real, fake)
    shifted = objective.generator_loss(fake + 8, real_scores=real + 8)
    assert shifted == objective.generator_loss(fake, real_scores=real)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scores", [ZEROS, SURE, WRONG])
def test_gradients_are_finite_at_any_score(kind: str, scores: Tensor) -> None:
    objective, leaf = made(kind), scores.clone().requires_grad_()
    total = objective.discriminator_loss(leaf, -leaf) + objective.generator_loss(leaf, real_scores=-leaf)
    total.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_generator_is_pushed_to_higher_scores(kind: str) -> None:
    leaf = torch.zeros(4, requires_grad=True)
    made(kind).generator_loss(leaf, real_scores=ZEROS).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert (leaf.grad < 0).all()


def test_only_the_saturating_generator_stops_learning_if_the_discriminator_is_sure() -> None:
    slopes = {}
    for kind in ("minimax", "non_saturating"):
        leaf = torch.full((4,), -30.0, requires_grad=True)
        made(kind).generator_loss(leaf).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        slopes[kind] = leaf.grad.abs().sum().item()
    assert slopes["minimax"] < 1e-12
    assert slopes["non_saturating"] == pytest.approx(1.0)


def test_non_saturating_losses_are_binary_cross_entropy_of_the_sigmoid() -> None:
    objective = made("non_saturating")
    expected = -(REAL.sigmoid().log().mean() + (1 - FAKE.sigmoid()).log().mean())
    torch.testing.assert_close(objective.discriminator_loss(REAL, FAKE), expected)
    torch.testing.assert_close(objective.generator_loss(FAKE), -FAKE.sigmoid().log().mean())


def test_non_saturating_loss_does_not_overflow() -> None:
    objective = made("non_saturating")
    assert objective.discriminator_loss(WRONG, SURE) == 2e4
    assert objective.discriminator_loss(SURE, WRONG) == 0


def test_only_cross_entropy_scores_are_logits() -> None:
    assert [kind for kind in KINDS if made(kind).scores_are_logits] == ["minimax", "non_saturating"]
