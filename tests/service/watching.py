"""A job's events as a test reports, mirrors and reads them."""

import json
from collections.abc import Iterator
from typing import Any, cast

import httpx

from contract.events import mirrored
from contract.job import Progress
from contract.keys import KEYS, RecordKind
from contract.owning import Lease, beat
from contract.volume import Volume
from tests.service.playing import Worker

STREAM = {"accept": "text/event-stream"}
JSON = {"accept": "application/json"}


def messages(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """Yield the server-sent events of a stream, and its comments as {"comment": …}."""
    fields: dict[str, Any] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            yield {"comment": line}
        elif not line:
            if "id" in fields:
                yield {**fields, "id": int(fields["id"]), "data": json.loads(fields["data"])}
            fields = {}
        else:
            name, _, value = line.partition(": ")
            fields[name] = value


def events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    return (message for message in messages(answer) if "id" in message)


def advance(worker: Worker, lease: Lease, steps: int) -> None:
    for step in range(steps):
        assert worker.run(beat(lease, Progress(done=step, total=1000)))


def stream(worker: Worker, lease: Lease) -> list[tuple[str, dict[str, str]]]:
    """What Redis holds of the job's events, with their ids."""
    entries = worker.redis.xrange(KEYS[RecordKind.JOB].events_of + lease.id)
    return cast("list[tuple[str, dict[str, str]]]", entries)


def mirror(worker: Worker, volume: Volume, lease: Lease, up_to: int) -> None:
    """Mirror the stream to the volume up to this event, then trim it, as the reconciler does."""
    entries = stream(worker, lease)
    lines = [
        json.dumps({"id": int(entry.partition("-")[0]), **fields, "at_ms": int(fields["at_ms"])}) + "\n"
        for entry, fields in entries
        if int(entry.partition("-")[0]) <= up_to
    ]
    volume.events(lease.id).write_text("".join(lines))
    worker.run(mirrored(RecordKind.JOB, lease.id, up_to, 1))
