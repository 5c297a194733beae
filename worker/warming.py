"""Has every sampler load a job's best generator before a name means it, so that no request waits for it.

An alias that follows a job means its best checkpoint as soon as Redis is told of it, `latest` that of the job
that has just succeeded. The supervisor tells both, so it is who can ask before.
"""

import logging
import time
from collections.abc import Sequence

import redis

from contract.job import CheckpointFact
from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING_FOR
from contract.sampling import CheckpointPlace
from contract.store import workers
from contract.warming import LIVES_SECONDS, LOOK_SECONDS, PATIENCE_SECONDS, first_picture, living_samplers
from worker.store import Store, connect

logger = logging.getLogger(__name__)


class Warming:
    """Asks samplers in vain at worst: what it cannot do, the first request for the generator does."""

    def __init__(self, store: Store, sampling_url: str, patience_seconds: float) -> None:
        """It waits so long at most, for nobody renews a lease meanwhile."""
        self._store = store
        self._redis = connect(sampling_url, decode=False)
        self._patience_seconds = min(PATIENCE_SECONDS, patience_seconds)

    def of_best_so_far(self, job_id: str, best: CheckpointFact) -> None:
        """Before Redis is told of the best checkpoint of a job that still runs."""
        try:
            if self._store.is_followed(job_id):
                self._warm(job_id, best)
        except (redis.RedisError, ValueError) as error:  # the latter of an alias that another version wrote
            logger.info("%s: samplers were not told of its new best: %s", job_id, error)

    def of_finished(self, job_id: str, best: CheckpointFact) -> None:
        """Before a job has succeeded, and `latest` means its best."""
        try:
            self._warm(job_id, best)
        except redis.RedisError as error:
            logger.info("%s: samplers were not told that it finishes: %s", job_id, error)

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
        while missing and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            missing -= len(self._redis.lpop(SAMPLES_REPLIES_OF + ask.gateway, missing) or ())
