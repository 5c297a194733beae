"""A minimal generator, and a gateway that asks for its samples."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import redis

from contract import keys
from contract.checkpoint import CheckpointHeader
from contract.sampling import CheckpointPlace, SampleSpec
from contract.training import TrainingSpec
from contract.volume import Volume
from contract.wire import Answer, Ask
from models import networks
from models.checkpoint import save_checkpoint

PLACE = CheckpointPlace(job="job_" + "0" * 16, file="generator.safetensors")
PATIENCE_SECONDS = 120
SILENCE_SECONDS = 3.0
"""After this, a gateway resends its asks: if Redis replies too late, what the sampler popped is lost."""
SPEC = TrainingSpec.model_validate(
    {
        "dataset": "ds_" + "0" * 16,
        "preset": "fast",
        "name": None,
        "architecture": {"kind": "dcgan", "latent_size": 8, "generator_width": 4, "discriminator_width": 4},
        "resolution": 32,
        "channels": 1,
        "checkpoint_every_images": 8,
        "preview_every_images": 8,
    }
)


def save_generator(volume: Volume, seed: int = 0, place: CheckpointPlace = PLACE) -> str:
    """Save a freshly initialised generator at `place`, and return its digest."""
    generator = networks.build(SPEC.architecture, SPEC.resolution, SPEC.channels).generator
    generator.initialise(seed)
    header = CheckpointHeader(job=place.job, spec=SPEC, images_seen=0)
    path = volume.checkpoint(place.job, place.file)
    path.parent.mkdir(parents=True, exist_ok=True)
    return save_checkpoint(generator, header, path)


_IDS = map(str, itertools.count())


class Gateway:
    """Sends asks for one generator as a gateway does, and waits for the answers."""

    def __init__(self, url: str, digest: str, place: CheckpointPlace = PLACE, name: str = "g0") -> None:
        self.redis = redis.Redis.from_url(url, socket_timeout=PATIENCE_SECONDS + 5)
        self._digest = digest
        self._place = place
        self.name = name

    def ask(self, seed: int, count: int = 1, **options: Any) -> Ask:
        spec = SampleSpec(digest=self._digest, seed=seed, count=count, **options)
        return Ask(next(_IDS), self.name, self.now_ms() + PATIENCE_SECONDS * 1000, spec, self._place)

    def now_ms(self) -> int:
        return int(self.redis.time()[0]) * 1000

    def push(self, *asks: Ask | bytes) -> None:
        frames = [ask.pack() if isinstance(ask, Ask) else ask for ask in asks]
        self.redis.rpush(keys.SAMPLES_WAITING, *frames)

    def answers(self, count: int) -> list[Answer]:
        """The next answers, in order of arrival."""
        return [self._answer() for _ in range(count)]

    def hears_within(self, seconds: float) -> bool:
        """Whether an answer arrives."""
        return self._next(seconds) is not None

    def persist(self, asks: Mapping[str, Ask]) -> Iterator[Answer]:
        """Push these asks, keyed by id, and yield the answers. After a silence, resend what is unanswered."""
        missing = dict(asks)
        self.push(*missing.values())
        for _ in range(PATIENCE_SECONDS):
            while missing and (answer := self._next(SILENCE_SECONDS)):
                missing.pop(answer.id, None)
                yield answer
            if not missing:
                return
            deadline_ms = self.now_ms() + PATIENCE_SECONDS * 1000
            self.push(*(replace(ask, deadline_ms=deadline_ms) for ask in missing.values()))
        raise AssertionError("no answer came")

    def _answer(self) -> Answer:
        answer = self._next(PATIENCE_SECONDS)
        assert answer, "no answer came"
        return answer

    def _next(self, patience_seconds: float) -> Answer | None:
        key = keys.SAMPLES_REPLIES_OF + self.name
        popped = cast("tuple[bytes, bytes] | None", self.redis.blpop([key], patience_seconds))
        return Answer.unpack(popped[1]) if popped else None
