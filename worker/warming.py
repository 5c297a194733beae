"""Has every sampler load a job's best generator before a name means it, so that no request waits for it.

An alias that follows a job means its best checkpoint as soon as Redis is told of it, `latest` that of the job
that has just succeeded. The supervisor tells both, so it is who can ask before.
"""

import logging
import threading
import time
from collections.abc import Sequence

import redis

from contract.job import CheckpointFact
from contract.keys import SAMPLES_WAITING_FOR
from contract.sampling import CheckpointPlace
from contract.store import workers
from contract.warming import LIVES_SECONDS, answers_to, first_picture, living_samplers
from worker.store import Store, connect

logger = logging.getLogger(__name__)

POP_SECONDS = 1.0
"""A blocking pop ends well before redis-py's socket timeout."""
SHORTEST_POP_SECONDS = 0.01
"""Redis 6 takes less than a millisecond for none, and waits for ever."""


class Warming:
    """Asks samplers in vain at worst: what it cannot do, the first request for the generator does."""

    def __init__(self, store: Store, sampling_url: str, patience_seconds: float) -> None:
        """It keeps its caller no longer than it is patient: nobody renews a lease meanwhile."""
        self._store = store
        self._redis = connect(sampling_url, decode=False)
        self._patience_seconds = patience_seconds

    def load(self, job_id: str, best: CheckpointFact, *, is_latest: bool) -> None:
        """Before Redis is told of a new best, or that the job has succeeded and `latest` means its best.

        In a thread, which may be left: of a Redis that takes calls and is silent, each lasts for seconds.
        """
        asking = threading.Thread(
            target=self._load, args=(job_id, best), kwargs={"is_latest": is_latest}, daemon=True
        )
        asking.start()
        asking.join(self._patience_seconds)

    def _load(self, job_id: str, best: CheckpointFact, *, is_latest: bool) -> None:
        try:
            if is_latest or self._store.is_followed(job_id):
                self._warm(job_id, best)
        except (redis.RedisError, ValueError) as error:  # the latter of an alias that another version wrote
            logger.info("%s: samplers were not asked to load its best generator: %s", job_id, error)

    def _warm(self, job_id: str, checkpoint: CheckpointFact) -> None:
        if samplers := living_samplers(self._store.run(workers())):
            self._ask_each(samplers, checkpoint.digest, CheckpointPlace(job=job_id, file=checkpoint.file))

    def _ask_each(self, samplers: Sequence[str], digest: str, place: CheckpointPlace) -> None:
        seconds, _ = self._redis.time()
        ask = first_picture(digest, place, seconds)
        pipe = self._redis.pipeline(transaction=False)
        for sampler in samplers:
            pipe.rpush(SAMPLES_WAITING_FOR + sampler, ask.pack())
            pipe.expire(SAMPLES_WAITING_FOR + sampler, LIVES_SECONDS)
        pipe.execute()
        missing, until = len(samplers), time.monotonic() + self._patience_seconds
        while missing and (left := until - time.monotonic()) > 0:
            patience = min(max(left, SHORTEST_POP_SECONDS), POP_SECONDS)
            missing -= self._redis.blpop([answers_to(ask)], patience) is not None
