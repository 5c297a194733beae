"""The terms of the losses, for critics and samples with values that can be computed by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from contract import objectives, terms
from models.game import DiscriminatorTerm, Exchange, Judged
from models.networks.pair import Discriminator
from models.objectives import build as build_objective
from models.terms import build
from models.terms.mmd import Mmd, squared_mmd

SIDE = 4
ALPHAS = (0.2, 0.5, 1, 2, 5)


class Linear(Discriminator):
    """A critic whose gradient has the norm `slope` everywhere."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.full((SIDE * SIDE,), slope / SIDE))

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def score(self, features: Tensor) -> Tensor:
        return features @ self.kernel


def exchange(slope: float) -> Exchange:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 8, 1, SIDE, SIDE, generator=generator)
    return Exchange(Linear(slope), real, fake, torch.rand(8, 1, 1, 1, generator=generator))


def gradient_penalty() -> DiscriminatorTerm:
    (term,) = build_objective(objectives.WganGp()).discriminator_terms
    return term


def discriminator_term(term: terms.Term) -> DiscriminatorTerm:
    built = build(term)
    assert isinstance(built, DiscriminatorTerm)
    return built


def test_gradient_penalty_of_a_critic_of_unit_slope_is_zero() -> None:
    torch.testing.assert_close(gradient_penalty().loss(exchange(1.0)), torch.tensor(0.0))


def test_gradient_penalty_is_ten_times_the_squared_excess_slope() -> None:
    torch.testing.assert_close(gradient_penalty().loss(exchange(3.0)), torch.tensor(40.0))


def test_gradient_penalty_of_a_flat_critic_has_finite_gradients() -> None:
    given = exchange(0.0)
    gradient_penalty().loss(given).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in given.discriminator.parameters())


@pytest.mark.parametrize("kind", [terms.R1, terms.R2])
def test_zero_centred_penalty_is_half_gamma_times_the_squared_slope(kind: type[terms.R1 | terms.R2]) -> None:
    term = discriminator_term(kind(gamma=0.5, every_steps=1))
    torch.testing.assert_close(term.loss(exchange(2.0)), torch.tensor(1.0))


def test_weight_that_an_older_spec_leaves_open_follows_from_the_size_of_the_images() -> None:
    given = exchange(2.0)
    real, fake = torch.zeros(2, 8, 1, 64, 64)
    large = Exchange(_First(2.0), real, fake, given.mix)
    loss = build_objective(objectives.R3(gamma=None, penalty_every_steps=1)).discriminator_terms[0].loss
    torch.testing.assert_close(loss(large), torch.tensor(0.5 * 2.0**2))


class _First(Linear):
    """Sees only as many pixels as its kernel has."""

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, : SIDE * SIDE]


def test_infrequent_penalty_is_proportionally_stronger() -> None:
    once, rarely = (discriminator_term(terms.R1(gamma=0.5, every_steps=every)) for every in (1, 8))
    assert rarely.loss(exchange(2.0)) == 8 * once.loss(exchange(2.0))


def test_r1_uses_reals_and_r2_uses_fakes() -> None:
    given = exchange(1.0)
    given.real.mul_(float("nan"))
    bent = Exchange(_Square(), given.real, given.fake, given.mix)
    assert discriminator_term(terms.R1(gamma=1)).loss(bent).isnan()
    assert discriminator_term(terms.R2(gamma=1)).loss(bent).isfinite()


class _Square(Linear):
    def __init__(self) -> None:
        super().__init__(1.0)

    def score(self, features: Tensor) -> Tensor:
        return features.square() @ self.kernel


def test_r3_penalties_are_stronger_for_larger_images() -> None:
    r1, r2 = build_objective(objectives.R3(penalty_every_steps=1)).discriminator_terms
    small, large = torch.zeros(2, 1, 32, 32), torch.zeros(2, 1, 64, 64)
    flat = _Sum()
    for term in (r1, r2):
        losses = [
            term.loss(Exchange(flat, images, images, torch.zeros(2, 1, 1, 1))) for images in (small, large)
        ]
        torch.testing.assert_close(torch.stack(losses), torch.tensor([0.025 * 32**2, 0.5 * 64**2]))


class _Sum(Discriminator):
    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def score(self, features: Tensor) -> Tensor:
        return features.sum(1)


def test_weight_penalty_is_the_squared_norm_of_all_weights() -> None:
    term = discriminator_term(terms.WeightPenalty(weight=0.5))
    torch.testing.assert_close(term.loss(exchange(2.0)), torch.tensor(2.0))


def test_mmd_of_two_pairs_matches_a_computation_by_hand() -> None:
    real, fake = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])

    def kernel(squared: float) -> float:
        return math.fsum((1 + squared / (2 * alpha)) ** -alpha for alpha in ALPHAS)

    between = (kernel(0) + kernel(4) + kernel(1) + kernel(1)) / 4
    expected = kernel(1) + kernel(4) - 2 * between
    assert squared_mmd(real, fake).item() == pytest.approx(expected, rel=1e-5)


def test_mmd_of_equal_distributions_is_zero_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = [squared_mmd(*torch.randn(2, 16, 4, generator=generator)) for _ in range(400)]
    values = torch.stack(draws)
    assert values.mean().abs() < 3 * values.std() / len(draws) ** 0.5


def mean_kernel(shift: float, size: int) -> float:
    """The mean kernel of points from two unit Gaussians (size,), one shifted by `shift` in each coordinate.

    (1 + d²/2α)^(−α) is the mean of exp(−s d²/2) over s ~ Gamma(α, rate α), and x − y ~ N(shift, 2) in each
    coordinate, for which the mean of exp(−a (x − y)²/2) is (1 + 2a)^(−1/2) exp(−a shift² / 2(1 + 2a)); here
    a = s / size. The integral over s is a sum over u with s = u⁵, because its density has a pole at 0.
    """
    step = 1e-3
    u = torch.arange(0.5, 3_400, dtype=torch.float64) * step
    s = u**5
    a = s / size
    of_pair = (1 + 2 * a) ** (-size / 2) * torch.exp(-size * a * shift**2 / (2 * (1 + 2 * a)))
    total = 0.0
    for alpha in ALPHAS:
        logarithm = alpha * math.log(alpha) - math.lgamma(alpha) + (alpha - 1) * s.log() - alpha * s
        density = torch.exp(logarithm) * 5 * u**4
        assert float((density * step).sum()) == pytest.approx(1, abs=1e-3)
        total += float((density * of_pair * step).sum())
    return total


def test_mmd_of_shifted_gaussians_matches_their_densities() -> None:
    generator, size = torch.Generator().manual_seed(0), 3
    real, fake = torch.randn(2, 1200, size, generator=generator)
    for shift in (0.0, 0.7, 2.0):
        expected = 2 * mean_kernel(0, size) - 2 * mean_kernel(shift, size)
        assert squared_mmd(real, fake + shift).item() == pytest.approx(expected, abs=0.08)
    assert 2 * mean_kernel(0, size) - 2 * mean_kernel(2.0, size) > 1


@pytest.mark.parametrize("on", ["features", "pixels"])
def test_mmd_compares_features_or_pixels_as_chosen(on: str) -> None:
    same, other = torch.zeros(4, 3), torch.arange(12.0).reshape(4, 3) / 10
    term = Mmd(terms.Mmd.model_validate({"on": on, "weight": 1}))
    real = Judged(images=same[:, :, None, None], features=other, scores=same[:, 0])
    fake = Judged(images=same[:, :, None, None], features=other + 9, scores=same[:, 0])
    assert (term.loss(real, fake) > 0.1) == (on == "features")
