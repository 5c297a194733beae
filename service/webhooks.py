"""Delivers webhooks about ended jobs: takes due deliveries from Redis, sends them, and retries for a day.

A delivery is leased while in flight: no two gateways send it at once, and if one is killed, another takes
over. So it is delivered at least once, always under the same id.
"""

import asyncio
import logging
import random
import time
from contextlib import suppress

from redis.exceptions import RedisError

from contract.deliveries import Bounds, Delivery, settle_delivery, take_deliveries
from contract.durable import lack, replace_durably
from contract.errors import ServiceError
from contract.keys import RecordKind
from contract.rare_warning import RareWarning
from contract.submission import read_webhook
from contract.volume import Volume
from contract.webhook import TOLD_FOR_SECONDS, DeliveryOutcome, Endpoint, Notification, Webhook, read_told
from service.messages import Message, message_id, signed_headers
from service.on_volume import OnVolume
from service.receivers import Receivers, UnreachableError
from service.settings import Settings
from service.store import Standing, Store
from service.views import viewed

SCHEDULE_SECONDS = (5, 305, 2_105, 9_305, 27_305, 63_305, TOLD_FOR_SECONDS)
"""When to retry, in seconds after the job's end: as Standard Webhooks recommends, cut off at a day."""
JITTER = 0.1
"""The most by which a pause is extended at random, so that jobs that ended together spread out."""

AT_ONCE = Bounds(own=28, receiver=4, submitter=16)
_LEASE_SECONDS = 30.0  # an attempt takes ten at most
_POLL_SECONDS = 1.0
_CLOSE_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Webhooks:
    """Runs one loop in every gateway; attempts run concurrently, within bounds."""

    def __init__(self, store: Store, volume: Volume, on_volume: OnVolume, settings: Settings) -> None:
        self._store = store
        self._volume = volume
        self._on_volume = on_volume
        self._global = settings.webhook
        self._allows_private = settings.webhook_allow_private
        self._receivers = {endpoint: Receivers() for endpoint in Endpoint}  # look-ups of jobs' own may hang
        self._under_way: dict[asyncio.Task[None], Delivery] = {}
        self._stirred = asyncio.Event()  # an attempt has ended, or the gateway is closing
        self._is_closing = False

    async def run(self) -> None:
        """Run until closed; attempts that do not end soon after are cancelled, and repeated elsewhere."""
        rarely = RareWarning(logger)
        while not self._is_closing:
            try:
                await self._start_due()
            except RedisError as error:
                rarely.log("webhooks wait, Redis does not answer: %s", error)
            except OSError as error:
                rarely.log("webhooks wait: %s", error.strerror)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stirred.wait(), _POLL_SECONDS)
            self._stirred.clear()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=_CLOSE_SECONDS)
            for attempt in late:
                attempt.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def close(self) -> None:
        """End the loop, within a second."""
        self._is_closing = True
        self._stirred.set()

    async def _start_due(self) -> None:
        self._on_volume.require()
        under_way = self._under_way.values()
        command = take_deliveries(AT_ONCE, lease_seconds=_LEASE_SECONDS, under_way=under_way)
        for delivery in await self._store.run(command):
            if any(_are_one(delivery, other) for other in under_way):
                continue  # it hangs on the volume, longer than its lease
            attempt = asyncio.create_task(self._deliver(delivery))
            self._under_way[attempt] = delivery
            attempt.add_done_callback(self._forget)

    def _forget(self, attempt: asyncio.Task[None]) -> None:
        del self._under_way[attempt]
        self._stirred.set()

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
        except UnreachableError as error:
            await self._put_back(delivery, str(error))
        except ServiceError as error:  # another version wrote the record; its gateways can tell
            if delivery.age_seconds < TOLD_FOR_SECONDS:
                logger.warning("%s: told again when its lease has run out: %s", delivery.job_id, error)
            else:
                await self._put_back(delivery, error.detail)
        except Exception as error:
            if isinstance(error, RedisError) or lack(error):
                logger.warning("%s: told again when its lease has run out: %s", delivery.job_id, error)
                return
            logger.exception("%s: telling its end failed by a mistake of ours", delivery.job_id)
            await self._put_back(delivery, "The service made a mistake; its log says which.")

    async def _attempt(self, delivery: Delivery) -> None:
        noted = self._volume.told(delivery.job_id, delivery.endpoint)
        if told := await self._on_volume(read_told, noted):  # a gateway was killed before it told Redis
            await self._report(delivery, told)
            return
        if delivery.endpoint is Endpoint.GLOBAL and self._global is None:
            await self._report(delivery)
            return
        standing = await self._store.find(RecordKind.JOB, delivery.job_id)
        if standing is None or not standing.record.state.is_terminal:  # Redis was emptied, or the job deleted
            await self._report(delivery)
        elif webhook := await self._on_volume(self._webhook, delivery):
            await self._send(delivery, webhook, standing)
        else:
            await self._report(delivery)

    async def _send(self, delivery: Delivery, webhook: Webhook, standing: Standing) -> None:
        body = viewed(standing, Message.of).model_dump_json().encode()
        name = message_id(delivery.job_id, standing.record.state, delivery.endpoint)
        headers = signed_headers(webhook, name, body, int(time.time()))
        may_be_private = self._allows_private or delivery.endpoint is Endpoint.GLOBAL
        receivers = self._receivers[delivery.endpoint]
        reply = await receivers.post(str(webhook.url), headers, body, allow_private=may_be_private)
        if 200 <= reply.status < 300:
            await self._end(delivery, DeliveryOutcome.DELIVERED)
        elif reply.status == 410:
            await self._end(
                delivery, DeliveryOutcome.GONE, "It answered 410: it wants no more notifications."
            )
        else:
            await self._put_back(delivery, f"It answered {reply.status}.", reply.pause_seconds(time.time()))

    def _webhook(self, delivery: Delivery) -> Webhook | None:
        """Return the deployment's webhook, if any, or the job's own.

        Raises:
            OSError: the volume refuses.
            UnreachableError: the file that holds it is damaged, or gone.
        """
        if delivery.endpoint is Endpoint.GLOBAL:
            return self._global
        path = self._volume.submission(delivery.job_id)
        try:
            return read_webhook(path)
        except ValueError as error:
            logger.warning("%s cannot be read: %s", path, error)
            raise UnreachableError("Its address cannot be read from the volume.") from None

    async def _put_back(self, delivery: Delivery, problem: str, asked_seconds: float = 0.0) -> None:
        chance = random.random()  # noqa: S311 — no secret depends on it
        pause = pause_seconds(delivery.age_seconds, chance, asked_seconds)
        if pause is None:
            logger.error("%s: %s was not told of its end: %s", delivery.job_id, delivery.receiver, problem)
            await self._end(delivery, DeliveryOutcome.GIVEN_UP, problem)
            return
        logger.warning("%s: %s, next in %.0f s: %s", delivery.job_id, delivery.receiver, pause, problem)
        told = Notification(outcome=None, problem=problem, at_ms=_now_ms())
        await self._report(delivery, told, retry_seconds=pause)

    async def _end(self, delivery: Delivery, outcome: DeliveryOutcome, problem: str | None = None) -> None:
        """Record the outcome, on the volume first, so that it is not sent again if Redis is emptied."""
        told = Notification(outcome=outcome, problem=problem, at_ms=_now_ms())
        path = self._volume.told(delivery.job_id, delivery.endpoint)
        try:
            await self._on_volume(replace_durably, path, told.model_dump_json().encode())
        except FileNotFoundError:  # the job was deleted meanwhile
            pass
        except OSError as error:
            logger.warning("%s: cannot note that its end was told: %s", delivery.job_id, error)
        await self._report(delivery, told)

    async def _report(
        self, delivery: Delivery, told: Notification | None = None, *, retry_seconds: float | None = None
    ) -> None:
        try:
            await self._store.run(settle_delivery(delivery, told, retry_seconds=retry_seconds))
        except RedisError as error:
            logger.warning("%s: looked at again when its lease has run out: %s", delivery.job_id, error)


def _are_one(delivery: Delivery, other: Delivery) -> bool:
    return (delivery.job_id, delivery.endpoint) == (other.job_id, other.endpoint)


def pause_seconds(age_seconds: float, chance: float, asked_seconds: float = 0.0) -> float | None:
    """Seconds until the next attempt, at this age since the job's end; None if there is no further one.

    Never less than the receiver requested, except before the last attempt, which is at the end of the day.
    """
    ahead = next((moment for moment in SCHEDULE_SECONDS if moment > age_seconds), None)
    if ahead is None:
        return None
    pause = max((ahead - age_seconds) * (1 + JITTER * chance), asked_seconds)
    return min(pause, TOLD_FOR_SECONDS - age_seconds)


def _now_ms() -> int:
    return round(time.time() * 1000)
