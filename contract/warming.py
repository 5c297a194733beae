"""Requests a generator's first picture before a name points to it, so that samplers load it."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING_FOR, Role
from contract.sampling import CheckpointPlace, SamplePrecision, SampleSpec
from contract.wire import Ask

PATIENCE_SECONDS = 30.0
"""Longest wait for samplers before a name is moved: more than reading and probing a large generator takes."""
LIVES_SECONDS = 35
"""Requests to a sampler that has just died expire after this, when nobody waits for them any more."""


@dataclass(frozen=True)
class LivingSampler:
    """A sampler that takes requests now, and the precisions in which generators are requested from it."""

    name: str
    precisions: tuple[SamplePrecision, ...]

    @property
    def waiting(self) -> str:
        """The list of asks that only it takes."""
        return SAMPLES_WAITING_FOR + self.name


def living_samplers(workers: list[dict[str, Any]]) -> list[LivingSampler]:
    """The samplers that take requests now, from what all workers report; other versions may report less."""
    active = [one for one in workers if one["role"] == Role.SAMPLE and one.get("active") and "name" in one]
    return [LivingSampler(one["name"], _known(one.get("precisions", ["auto"]))) for one in active]


def _known(precisions: Iterable[str]) -> tuple[SamplePrecision, ...]:
    return tuple(known for known in get_args(SamplePrecision) if known in precisions)


@dataclass(frozen=True)
class FirstPictures:
    """The asks for a generator's first picture in every precision, each with its sampler's list."""

    asks: Sequence[tuple[str, Ask]]
    replies: str
    """The list to which samplers push all their answers."""

    @classmethod
    def of(
        cls, samplers: Sequence[LivingSampler], digest: str, place: CheckpointPlace, redis_seconds: int
    ) -> "FirstPictures":
        """Their deadline is relative to Redis TIME, `redis_seconds`."""
        ours = secrets.token_hex(6)
        deadline_ms = round(1000 * (redis_seconds + PATIENCE_SECONDS + 1))
        asks = [
            (
                sampler.waiting,
                Ask(
                    secrets.token_hex(8),
                    ours,
                    deadline_ms,
                    SampleSpec(digest=digest, seed=0, count=1, precision=precision),
                    place,
                ),
            )
            for sampler in samplers
            for precision in sampler.precisions
        ]
        return cls(asks, SAMPLES_REPLIES_OF + ours)
