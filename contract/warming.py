"""Requests a generator's first picture before a name points to it, so that samplers load it."""

import secrets
from typing import Any

from contract.keys import SAMPLES_REPLIES_OF, Role
from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Ask

PATIENCE_SECONDS = 2.0
"""Longest wait for samplers before a name is moved: more than reading and probing a generator takes."""
LIVES_SECONDS = 10
"""Requests to a sampler that has just died expire after this."""


def living_samplers(workers: list[dict[str, Any]]) -> list[str]:
    """The names of samplers that take requests now, from what all workers report."""
    active = [one for one in workers if one["role"] == Role.SAMPLE and one.get("active")]
    return [one["name"] for one in active if "name" in one]  # other versions may have none


def first_picture(digest: str, place: CheckpointPlace, redis_seconds: int) -> Ask:
    """An ask with a reply list of its own; its deadline is relative to Redis TIME, `redis_seconds`."""
    deadline_ms = round(1000 * (redis_seconds + PATIENCE_SECONDS + 1))
    spec = SampleSpec(digest=digest, seed=0, count=1)
    return Ask(secrets.token_hex(8), secrets.token_hex(6), deadline_ms, spec, place)


def answers_to(ask: Ask) -> str:
    """The list to which samplers push their answers."""
    return SAMPLES_REPLIES_OF + ask.gateway
