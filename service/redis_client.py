"""The gateway's connections to Redis, for records and samples alike."""

from collections.abc import Awaitable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_PATIENCE_SECONDS = 2.0  # longer than any blocking command of ours


def connect(
    url: str, *, connections: int, decode: bool, retries: int = 1, reply_seconds: float | None = None
) -> "Redis":
    """Create a client that fails fast: a hanging Redis is an error after two seconds per attempt.

    A reply must be complete within `reply_seconds`, by default those two seconds.
    """
    return Redis(
        connection_pool=BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=_PATIENCE_SECONDS,
            socket_timeout=reply_seconds or _PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            health_check_interval=10,
            retry=Retry(NoBackoff(), retries),
            decode_responses=decode,
        )
    )


async def awaited(reply: "Awaitable[Any] | Any") -> Any:
    """Await a command whose type in redis-py covers both kinds of client, sync and async."""
    return await reply
