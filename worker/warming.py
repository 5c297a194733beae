"""Lets every sampler load a job's best generator before a name points to it, so that no request waits.

An alias that follows a job points to its best checkpoint as soon as Redis knows it; `latest` points to that
of the job that succeeded last. The supervisor reports both, so it can ask the samplers before.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import cast

import redis

from contract.job import CheckpointFact
from contract.sampling import CheckpointPlace
from contract.warming import LIVES_SECONDS, FirstPictures, LivingSampler, living_samplers
from contract.wire import MALFORMED, Answer
from contract.workers import workers
from worker.store import POP_SECONDS, Store, connect

logger = logging.getLogger(__name__)

SHORTEST_POP_SECONDS = 0.01
"""Redis 6 treats a timeout below a millisecond as none, and waits for ever."""


class Warming:
    """Best effort: where it fails, the first request for the generator loads it."""

    def __init__(self, store: Store, sampling_url: str, patience_seconds: float) -> None:
        """`load` blocks for at most `patience_seconds`, because its caller sends no heartbeat meanwhile."""
        self._store = store
        self._redis = connect(sampling_url, decode=False)
        self._patience_seconds = patience_seconds

    def load(self, job_id: str, best: CheckpointFact, *, is_latest: bool) -> str | None:
        """Call before reporting to Redis a new best, or a success, which makes `latest` point to its best.

        Runs in a thread that may be abandoned, because a call to a Redis that hangs takes seconds. Returns
        why a sampler cannot load it, if one has said so.
        """
        refusals: list[str] = []

        def load() -> None:
            if refusal := self._load(job_id, best, is_latest=is_latest):
                refusals.append(refusal)

        asking = threading.Thread(target=load, daemon=True)
        try:
            asking.start()
        except RuntimeError as error:  # the process has as many threads as it may
            _log_failure(job_id, error)
            return None
        asking.join(self._patience_seconds)
        return refusals[0] if refusals else None

    def _load(self, job_id: str, best: CheckpointFact, *, is_latest: bool) -> str | None:
        try:
            if is_latest or self._store.is_followed(job_id):
                return self._warm(job_id, best)
        except (redis.RedisError, *MALFORMED) as error:  # malformed: an alias or answer of another version
            _log_failure(job_id, error)
        return None

    def _warm(self, job_id: str, checkpoint: CheckpointFact) -> str | None:
        samplers = living_samplers(self._store.run(workers()))
        place = CheckpointPlace(job=job_id, file=checkpoint.file)
        return self._ask_each(samplers, checkpoint.digest, place) if samplers else None

    def _ask_each(self, samplers: Sequence[LivingSampler], digest: str, place: CheckpointPlace) -> str | None:
        seconds, _ = self._redis.time()
        wanted = FirstPictures.of(samplers, digest, place, seconds)
        pipe = self._redis.pipeline(transaction=False)
        for waiting, ask in wanted.asks:
            pipe.rpush(waiting, ask.pack())
            pipe.expire(waiting, LIVES_SECONDS)
        pipe.execute()
        missing, until = len(wanted.asks), time.monotonic() + self._patience_seconds
        while missing and (left := until - time.monotonic()) > 0:
            patience = min(max(left, SHORTEST_POP_SECONDS), POP_SECONDS)
            if answered := cast("list[bytes] | None", self._redis.blpop([wanted.replies], patience)):
                answer = Answer.unpack(answered[1])
                if answer.error:
                    return answer.detail
                missing -= 1
        return None


def _log_failure(job_id: str, error: Exception) -> None:
    logger.info("%s: samplers were not asked to load its best generator: %s", job_id, error)
