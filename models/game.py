"""What an objective is made of: a loss for each player, and the terms that come with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from models.networks.pair import Discriminator


@dataclass(frozen=True)
class Exchange:
    """What the discriminator learns from in one step."""

    discriminator: Discriminator
    real: Tensor
    """(N, C, R, R), float32 in [-1, 1]."""
    fake: Tensor
    """(N, C, R, R), float32 in [-1, 1], without gradient."""
    mix: Tensor
    """(N, 1, 1, 1), float32, uniform in (0, 1)."""


@dataclass(frozen=True)
class Judged:
    """A batch as the discriminator sees it: images (N, C, R, R), features (N, F), scores (N,), float32."""

    images: Tensor
    features: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Loss:
    """What a player minimises: the objective's share, and that of each term by name. Scalars."""

    adversarial: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def parts(self) -> Mapping[str, Tensor]:
        return {"adversarial": self.adversarial, **self.terms}

    @property
    def total(self) -> Tensor:
        return sum(self.terms.values(), start=self.adversarial)


class DiscriminatorTerm:
    """Something added to the discriminator's loss, every so many steps."""

    name: str
    every_steps: int = 1
    differentiates_slopes: bool
    """Whether it passes images through the discriminator, and differentiates their slopes: what it costs."""

    def loss(self, exchange: Exchange) -> Tensor:
        """A scalar, its weight and its rarity included."""
        raise NotImplementedError


class GeneratorTerm:
    """Something added to the generator's loss."""

    name: str

    def loss(self, real: Judged, fake: Judged) -> Tensor:
        """A scalar, its weight included; only `fake` carries gradients."""
        raise NotImplementedError


class Objective:
    """What the two players minimise. Scores are (N,) in float32; losses are scalars."""

    scores_are_logits: bool
    """Whether sigmoid(score) is a probability as it stands; otherwise it must be calibrated first."""
    compares_pairs: bool = False
    """Whether the generator's loss needs the scores of reals."""
    discriminator_steps: int = 1
    """Batches that the discriminator learns from for each step of the generator."""
    discriminator_terms: tuple[DiscriminatorTerm, ...] = ()
    wants_sure_discriminator: bool = False
    """Whether it is trained to its best on purpose, so that judging all right is no fault of a run."""

    def discriminator_loss(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        """Low when reals score high and fakes low."""
        raise NotImplementedError

    def generator_loss(self, fake_scores: Tensor, real_scores: Tensor | None = None) -> Tensor:
        """Low when fakes score high; `real_scores` are given where the objective compares pairs."""
        raise NotImplementedError
