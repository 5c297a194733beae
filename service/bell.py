"""Wakes the workers with a Celery message: "there is work". Best effort, as the record is authoritative."""

import logging
import threading
from queue import SimpleQueue

from celery import Celery
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from contract.keys import CELERY_PREFIX, TASK_OF_ROLE, Role

_PATIENCE_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Bell:
    """Publishes from a thread of its own, so that a hanging Redis delays no request."""

    def __init__(self, redis_url: str) -> None:
        patience = {"socket_timeout": _PATIENCE_SECONDS, "socket_connect_timeout": _PATIENCE_SECONDS}
        self._celery = Celery(broker=redis_url, set_as_current=False)
        self._celery.conf.update(
            task_ignore_result=True,
            task_publish_retry=False,
            broker_connection_timeout=_PATIENCE_SECONDS,
            broker_transport_options={"global_keyprefix": CELERY_PREFIX, **patience},
        )
        self._redis = Redis.from_url(redis_url, retry=Retry(NoBackoff(), 1), **patience)
        self._due: SimpleQueue[Role | None] = SimpleQueue()
        self._waiting: set[Role] = set()
        self._thread = threading.Thread(target=self._publish_all, name="bell", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop without waiting: the thread is a daemon, and the reconciler repeats a lost ring."""
        self._due.put(None)

    def ring(self, role: Role) -> None:
        """Wake a worker of a role; rings that are still pending are merged into one."""
        if role not in self._waiting:
            self._waiting.add(role)
            self._due.put(role)

    def _publish_all(self) -> None:
        while (role := self._due.get()) is not None:
            self._waiting.discard(role)
            try:
                if not self._is_rung(role):
                    self._celery.send_task(
                        TASK_OF_ROLE[role], queue=str(role), ignore_result=True, retry=False
                    )
            except (CeleryError, KombuError, RedisError, OSError) as error:
                logger.warning("could not ring the %s workers; they will look by themselves: %s", role, error)

    def _is_rung(self, role: Role) -> bool:
        """Whether a message waits: all workers are busy, and the next free one works until nothing is queued.

        If more than one is idle after all, the others are rung by a reconciler within a second.
        """
        return bool(self._redis.llen(CELERY_PREFIX + role))
