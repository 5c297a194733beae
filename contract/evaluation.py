"""One evaluation of a generator in training: every figure, and what it rests on."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from contract.kept import Kept
from contract.plugin import Frozen

DEAD = 0.1
"""A generator is dead if its diversity is below this: nearly all its samples are the same."""


class EvaluationParameters(Frozen):
    """How a job's generator is judged."""

    features: Literal["embedded", "inception"] = Field(
        "embedded",
        description="The network whose features are compared: the small one of this service, whose distances "
        "are called `fd` and `kd`; or Inception, if its weights are on the volume: `fid` and `kid`.",
    )
    every_images: int | None = Field(
        None,
        ge=1,
        description="Images between two evaluations; default: counted from the operations of both, so that "
        "evaluations take about 5 % of the time. If you choose it: 1,000 in a run at most.",
    )
    accuracy_threshold: float = Field(
        0.5, gt=0, lt=1, description="Probability from which an image is called real."
    )


class Distance(Kept):
    """How far the samples are from real pictures, in features: lower is better.

    Comparable only with distances of the same name, features, and numbers of samples and reals.
    """

    name: str = Field(examples=["fd"])
    value: float
    error: float | None = Field(None, description="Standard error, where the estimate has one.")
    floor: float = Field(
        description="How far one half of the reals is from the other. A perfect generator's Fréchet distance "
        "is lower, since it is judged by more images; its kernel distance is, like this, 0 but for chance."
    )


class AdversarialAccuracy(Kept):
    """The shares that the discriminator judges right; a half of both is the game's equilibrium.

    Of pictures augmented as in the training: it has seen no others.
    """

    real: float = Field(description="Of held-out pictures, the share called real.")
    fake: float = Field(description="Of samples, the share called fake.")
    threshold: float = Field(description="Of probability.")
    calibrated: bool = Field(
        description="Whether scores had to be made probabilities first (Platt), as those of a critic."
    )


class LatentPaths(Kept):
    """How images change along paths between latents: evenly, or in jumps."""

    paths: int
    points: int = Field(description="Images on each path.")
    length: float = Field(
        description="In mean distances of two reals: 1 to 2 is good, 0 a collapse, more a detour."
    )
    smoothness: float = Field(description="Mean step over largest step: 1 at constant speed.")


class Evaluation(Kept):
    """The generator that would be served, judged after `images_seen`."""

    images_seen: int
    samples: int = Field(description="Samples that were judged.")
    reals: int = Field(description="Real pictures that they were compared with.")
    split: Literal["held_out", "training"] = Field(
        description="Where they come from: pictures never trained on, unless the dataset has too few of them."
    )
    features: str = Field(description="Name and version of the network whose features were compared.")
    frechet: Distance
    kernel: Distance
    precision: float = Field(description="Share of samples that look real.")
    recall: float = Field(description="Share of reals that the samples' variety reaches.")
    density: float = Field(
        description="Like precision, but counts how many real neighbourhoods hold a sample; about 1 means as "
        "dense as the reals."
    )
    coverage: float = Field(
        description="Share of reals with a sample near them; a perfect generator's is about "
        "1 − (reals / (reals + samples))⁵."
    )
    diversity: float = Field(
        description="Mean distance between two samples, relative to that between two reals."
    )
    memorised: float | None = Field(
        description="Share of samples nearer to a training picture than all but 5 % of held-out ones are, or "
        "without these, than all but 5 % of training pictures are to another. Null in old records only."
    )
    adversarial_accuracy: AdversarialAccuracy
    latent_paths: LatentPaths
    losses: Mapping[str, float] = Field(description="Of the last step, by player and term.")

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of the generator alone, by name: what a checkpoint carries."""
        return {
            self.frechet.name: self.frechet.value,
            self.kernel.name: self.kernel.value,
            "precision": self.precision,
            "recall": self.recall,
            "density": self.density,
            "coverage": self.coverage,
            "diversity": self.diversity,
            "path_length": self.latent_paths.length,
            "path_smoothness": self.latent_paths.smoothness,
        }
