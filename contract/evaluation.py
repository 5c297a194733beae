"""One evaluation of a generator in training: every metric, and what it was computed from."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, StrictFloat, StrictInt

from contract.kept import Kept
from contract.plugin import Frozen

DEAD = 0.1
"""A generator is dead if its diversity is below this: nearly all its samples are the same."""

FeaturesName = Literal["embedded", "inception"]


class EvaluationParameters(Frozen):
    """How a job's generator is evaluated."""

    features: FeaturesName = Field(
        "embedded",
        description="The network whose features are compared: the small one of this service, whose distances "
        "are called `fd` and `kd`; or Inception, if its weights are on the volume: `fid` and `kid`.",
    )
    every_images: StrictInt | None = Field(
        None,
        ge=1,
        description="Images between two evaluations. Default: computed from the operations of training and "
        "evaluation so that evaluations make about 5 % of them, or up to a fifth where a run would have "
        "fewer than four. That is about their share of the time on a CPU; on a GPU, where the steps "
        "gain far more than the evaluations, it is larger: most of a short run at 32 px. Either way, at "
        "most some 1,000 in a run. If you set more than a quarter of the run, there are fewer than "
        "four, so failures are noticed late; from the whole run on there is one, at its end: no guard "
        "can then go back to a best, and the last state is served.",
    )
    accuracy_threshold: StrictFloat = Field(
        0.5,
        gt=0,
        lt=1,
        description="Probability from which an image is called real in `adversarial_accuracy`; the guards "
        "always use 0.5.",
    )


class Distance(Kept):
    """How far the samples are from real pictures, in features: lower is better.

    Comparable only with distances of the same name, features, and numbers of samples and reals.
    """

    name: str = Field(examples=["fd"])
    value: float
    error: float | None = Field(None, description="Standard error, where the estimate has one.")
    floor: float = Field(
        description="That of real pictures in the place of the samples (see the evaluation's `floor`), about "
        "that of a perfect generator."
    )


class AdversarialAccuracy(Kept):
    """The shares that the discriminator classifies correctly; one half of each is the game's equilibrium.

    The pictures are augmented as in training, because the discriminator has seen no others.
    """

    real: float = Field(description="The share of the real pictures that is called real.")
    fake: float = Field(description="The share of samples that is called fake.")
    threshold: float = Field(description="The probability from which an image is called real.")
    real_at_half: float | None = Field(
        None,
        description="`real` at a threshold of one half, which the guards use. Null only in old records.",
    )
    fake_at_half: float | None = Field(
        None,
        description="`fake` at a threshold of one half, which the guards use. Null only in old records.",
    )
    calibrated: bool = Field(
        description="Whether scores were first calibrated to probabilities (Platt), as a critic's must be. "
        "Then every other one is judged, and the rest serves for the calibration."
    )
    judged_reals: int | None = Field(
        None, description="How many real pictures were judged. Null only in old records."
    )
    judged_samples: int | None = Field(
        None, description="How many samples were judged. Null only in old records."
    )


class Floor(Kept):
    """The figures of real pictures in the place of the samples: about those of a perfect generator.

    They are training pictures, compared with the held-out ones. Where the reals are training pictures
    themselves, one half of them is compared with the other; with so few, floors of distances are too high.
    """

    samples: int = Field(description="How many real pictures stand in the place of samples.")
    precision: float
    recall: float
    density: float
    coverage: float
    diversity: float
    repeated: float | None = Field(None, description="Null only in old records.")


class Basis(Kept):
    """What an evaluation's figures were computed from. Only those with the same basis can be compared."""

    samples: int = Field(description="How many samples were evaluated.")
    reals: int = Field(description="How many real pictures they were compared with.")
    split: Literal["held_out", "training"] = Field(
        description="Where the reals come from: pictures never trained on, unless the dataset has too few."
    )
    features: str = Field(description="Name and version of the network whose features were compared.")


class MetricsBasis(Basis):
    """What a checkpoint's metrics were computed from, and what they would be for real pictures."""

    floor: dict[str, float] = Field(
        description="The metrics of real pictures in the place of the samples: about those of a perfect "
        "generator. `memorised` (about 0.05), the discriminator's accuracy and latent paths have none."
    )
    floor_samples: int | None = Field(
        description="How many real pictures stand in the place of samples. Null only in old records."
    )
    errors: dict[str, float] = Field(
        default_factory=dict, description="Standard errors of those metrics whose estimates have one."
    )
    accuracy_threshold: float | None = Field(
        None,
        description="The probability from which an image is called real in `adversarial_accuracy`. Null only "
        "in old records.",
    )
    accuracy_reals: int | None = Field(
        None, description="How many real pictures the discriminator judged. Null only in old records."
    )
    accuracy_samples: int | None = Field(
        None, description="How many samples the discriminator judged. Null only in old records."
    )
    searched: int | None = Field(
        None, description="Training pictures searched for `memorised`. Null only in old records."
    )
    paths: int | None = Field(None, description="Latent paths that were measured. Null only in old records.")


class LatentPaths(Kept):
    """How images change along paths between latents: evenly, or in jumps."""

    paths: int
    points: int = Field(description="Images on each path.")
    length: float = Field(
        description="Relative to the mean distance between two reals: 1 to 2 is good, 0 is a collapse, and "
        "more is a detour."
    )
    smoothness: float = Field(description="Mean step divided by largest step: 1 at constant speed.")


class Evaluation(Basis):
    """The generator that would be served, evaluated after `images_seen`."""

    images_seen: int
    frechet: Distance
    kernel: Distance
    precision: float = Field(description="Share of samples that look real.")
    recall: float = Field(description="Share of reals that the variety of the samples covers.")
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
    repeated: float | None = Field(
        None,
        description="Share of pairs of samples that are nearly the same picture, nearer to each other than "
        "a fifth of the mean distance between two samples: 1/k if there are only k, equally often. Null only "
        "in old records.",
    )
    floor: Floor | None = Field(None, description="Null only in old records.")
    memorised: float | None = Field(
        description="Share of samples that are nearer to a training picture, of 4,096 at most, than all but "
        "5 % of held-out pictures are; if there are none, than all but 5 % of training pictures are to "
        "another. Null only in old records."
    )
    searched: int | None = Field(
        None, description="Training pictures searched for `memorised`. Null only in old records."
    )
    training_pictures: int | None = Field(
        None,
        description="Training pictures in all, perhaps more than were searched. Null only in old records.",
    )
    adversarial_accuracy: AdversarialAccuracy
    latent_paths: LatentPaths
    losses: Mapping[str, float] = Field(
        description="The latest losses by player and term; not every step trains both or has every term."
    )

    @property
    def metrics(self) -> dict[str, float]:
        """The generator's metrics by name, as stored in a checkpoint."""
        return {
            self.frechet.name: self.frechet.value,
            self.kernel.name: self.kernel.value,
            "precision": self.precision,
            "recall": self.recall,
            "density": self.density,
            "coverage": self.coverage,
            "diversity": self.diversity,
            **({} if self.repeated is None else {"repeated": self.repeated}),
            **({} if self.memorised is None else {"memorised": self.memorised}),
            "adversarial_accuracy_real": self.adversarial_accuracy.real,
            "adversarial_accuracy_fake": self.adversarial_accuracy.fake,
            "path_length": self.latent_paths.length,
            "path_smoothness": self.latent_paths.smoothness,
        }

    @property
    def basis(self) -> MetricsBasis:
        """What `metrics` were computed from."""
        distances = (self.frechet, self.kernel)
        likeness = self.floor.model_dump(exclude={"samples"}, exclude_none=True) if self.floor else {}
        return MetricsBasis(
            **self.model_dump(include=set(Basis.model_fields)),
            floor={one.name: one.floor for one in distances} | likeness,
            floor_samples=self.floor.samples if self.floor else None,
            errors={one.name: one.error for one in distances if one.error is not None},
            accuracy_threshold=self.adversarial_accuracy.threshold,
            accuracy_reals=self.adversarial_accuracy.judged_reals,
            accuracy_samples=self.adversarial_accuracy.judged_samples,
            searched=self.searched,
            paths=self.latent_paths.paths,
        )
