"""Deletes jobs that ended long ago, if so configured.

Never one that an alias or `latest` points to, or of whose end a webhook has yet to be notified.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from redis.exceptions import RedisError

from contract.errors import ServiceError
from contract.forgetting import forget_job
from contract.job import State
from contract.keys import RecordKind
from service import deletion, records
from service.gateway import Gateway
from service.store import Cursor, Standing

ROUND_SECONDS = 60.0
_DAY_MS = 86_400_000
_PAGE = 100

logger = logging.getLogger(__name__)


async def run(gateway: Gateway) -> None:
    """Delete expired jobs while the gateway runs. Several gateways may do so: each job is deleted once."""
    days = gateway.settings.keep_jobs_days
    while days is not None and not gateway.hub.is_closing:
        try:
            await delete_expired(gateway, days)
        except (RedisError, ServiceError, OSError) as error:
            logger.warning("jobs that ended long ago are not deleted now: %s", error)
        await asyncio.sleep(ROUND_SECONDS)


async def delete_expired(gateway: Gateway, days: float) -> None:
    """Delete, in one pass, the jobs that ended more than this many days ago."""
    await records.require_rebuilt(gateway)
    meant = {meaning.job for meaning in (await gateway.store.aliases()).values()}
    meant.add(await gateway.store.newest_servable())
    for state in filter(lambda state: state.is_terminal, State):
        async for standing in _created_before(gateway, state, time.time() - days * _DAY_MS / 1000):
            job_id, ended_ms = standing.record.id, standing.record.finished_ms or standing.now_ms
            is_recent = standing.now_ms - ended_ms < days * _DAY_MS
            if job_id in meant or is_recent or await gateway.store.is_being_told(job_id):
                continue
            outcome, _ = await deletion.delete(gateway, job_id, forget_job(job_id))
            if outcome == "forgotten":
                logger.info("%s: deleted, it ended more than %g days ago", job_id, days)


async def _created_before(gateway: Gateway, state: State, seconds: float) -> AsyncIterator[Standing]:
    after: Cursor | None = Cursor(round(seconds * 1e6))
    while after is not None:
        page, after = await gateway.store.page(RecordKind.JOB, state=state, after=after, limit=_PAGE)
        for standing in page:
            yield standing
