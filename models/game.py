"""The parts of an objective: a loss for each player, and additional terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from contract.plugin import Frozen
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
    """What a player minimises: the objective's loss, and each term by name. Scalars."""

    adversarial: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def parts(self) -> Mapping[str, Tensor]:
        return {"adversarial": self.adversarial, **self.terms}

    @property
    def total(self) -> Tensor:
        return sum(self.terms.values(), start=self.adversarial)


class DiscriminatorTerm:
    """A term added to the discriminator's loss, every `every_steps` steps."""

    name: str
    every_steps: int = 1
    differentiates_gradients: bool
    """Whether it differentiates the gradients of scores at images: passes of its own, and costly."""

    def loss(self, exchange: Exchange) -> Tensor:
        """The loss, a scalar that includes its weight and the factor for its interval."""
        raise NotImplementedError


class GeneratorTerm:
    """A term added to the generator's loss."""

    name: str

    def loss(self, real: Judged, fake: Judged) -> Tensor:
        """The loss, a scalar that includes its weight; only `fake` carries gradients."""
        raise NotImplementedError


class Objective:
    """What the two players minimise. Scores are (N,) in float32; losses are scalars."""

    scores_are_logits: bool
    """Whether sigmoid(score) is a probability; otherwise scores must be calibrated first."""
    compares_pairs: bool = False
    """Whether the generator's loss needs the scores of reals."""
    discriminator_terms: tuple[DiscriminatorTerm, ...] = ()
    wants_sure_discriminator: bool = False
    """Whether the discriminator is trained to its optimum on purpose, so that sure verdicts are no fault."""

    def __init__(self, parameters: Frozen) -> None:
        """Objectives that have parameters override this."""

    def discriminator_loss(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        """Low when reals score high and fakes score low."""
        raise NotImplementedError

    def generator_loss(self, fake_scores: Tensor, *, real_scores: Tensor | None = None) -> Tensor:
        """Low when fakes score high; `real_scores` is given if the objective compares pairs."""
        raise NotImplementedError
