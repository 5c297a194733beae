import math

import pytest
import torch

from contract import objectives as parameters
from models.objectives.non_saturating import NonSaturating

OBJECTIVE = NonSaturating(parameters.NonSaturating())
REAL, FAKE = torch.tensor([0.3, -2.0, 4.0]), torch.tensor([1.5, -0.2, -3.0])


def test_undecided_discriminator_costs_two_bits_and_the_generator_one() -> None:
    undecided = torch.zeros(4)
    assert OBJECTIVE.discriminator_loss(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert OBJECTIVE.generator_loss(undecided).item() == pytest.approx(math.log(2))


def test_losses_are_binary_cross_entropy_of_the_sigmoid() -> None:
    expected = -(REAL.sigmoid().log().mean() + (1 - FAKE.sigmoid()).log().mean())
    assert OBJECTIVE.discriminator_loss(REAL, FAKE).item() == pytest.approx(expected.item())
    assert OBJECTIVE.generator_loss(FAKE).item() == pytest.approx(-FAKE.sigmoid().log().mean().item())


def test_loss_does_not_overflow() -> None:
    far = torch.tensor([1e4])
    assert OBJECTIVE.discriminator_loss(-far, far).item() == 2e4
    assert OBJECTIVE.discriminator_loss(far, -far).item() == 0


def test_generator_still_learns_when_the_discriminator_is_sure() -> None:
    score = torch.tensor([-20.0], requires_grad=True)
    (slope,) = torch.autograd.grad(OBJECTIVE.generator_loss(score), score)
    assert slope.item() == pytest.approx(-1)
