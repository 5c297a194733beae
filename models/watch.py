"""The guards' memory of a run: its best so far, what they have tried, and what they have changed."""

from typing import Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from contract.evaluation import DEAD
from contract.kept import Kept


class Adjustments(Kept):
    """What the guards have changed in a run so far, relative to its spec."""

    generator_rate: float = 1.0
    discriminator_rate: float = 1.0
    augmentation: float = Field(0.0, description="Added to the strength of the augmentation, up to 1 in all.")


class Watch(Kept):
    """The guards' memory: part of the training state."""

    begun_images_seen: int = 0
    """Where the run last restarted from its initial state."""
    begun_generator_rate: float = 1.0
    """The adjustment of the generator's learning rate at that time."""
    best_images_seen: int | None = None
    best_distance: float | None = None
    best_diversity: float = 0.0
    best_repeated: float = 0.0
    """The share of nearly equal pairs of its samples, if there are too many; else 0.

    Snapshots of earlier versions do not tell, so their best counts as varied if its diversity is enough.
    """
    best_repeated_limit: float | None = None
    """How many would not have been too many."""
    has_lived: bool = False
    """Whether there ever was a living best, even if it is lost now."""
    evaluations_since_best: int = 0
    rollbacks_since_best: int = 0
    suspected: tuple[str, ...] = ()
    """Causes reported by their first signs since the last rollback, or the last new best without any."""
    adjustments: Adjustments = Adjustments()

    @model_serializer(mode="wrap")
    def _without_what_older_versions_refuse(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Versions from before 2026-11-30 cannot read snapshots with fields that they do not know."""
        later = {
            "begun_generator_rate": 1.0,
            "best_repeated": 0.0,
            "best_repeated_limit": None,
            "suspected": (),
        }
        usual = {name for name, default in later.items() if getattr(self, name) == default}
        return {name: value for name, value in dump(self).items() if name not in usual}

    @property
    def has_living_best(self) -> bool:
        """Whether there is a state to roll back to."""
        return self.best_images_seen is not None and self.best_diversity >= DEAD

    @property
    def has_something_to_serve(self) -> bool:
        """Whether there is a living checkpoint, even if the run cannot roll back to it."""
        return self.has_lived or self.has_living_best

    def begun_again(self, images_seen: int) -> Self:
        """The watch of a run that has been reset to its initial state.

        A living best must have been lost, or the run would have rolled back to it. It is dropped, because it
        is no measure for a run that starts over.
        """
        none = {
            "best_images_seen": None,
            "best_distance": None,
            "best_diversity": 0.0,
            "best_repeated": 0.0,
            "best_repeated_limit": None,
        }
        forgotten = {**none, "has_lived": True} if self.has_living_best else {}
        begun = {"begun_images_seen": images_seen, "begun_generator_rate": self.adjustments.generator_rate}
        return self.model_copy(update={**begun, **forgotten})
