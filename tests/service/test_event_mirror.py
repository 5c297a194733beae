"""Events that only the mirror on the volume still holds: none is missed, whatever happened to its file."""

import io
from pathlib import Path
from random import Random
from typing import cast

import httpx
import pytest

from contract.events import Event, EventType
from contract.job import State
from contract.keys import KEYS, RecordKind
from contract.owning import Lease, leave, report
from contract.volume import Volume
from dcgan import Client
from service.event_mirror import read
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.watching import JSON, STREAM, advance, events, messages, mirror, stream
from worker.mirror import Mirror
from worker.store import Store

WHOLE = 2**62
DAMAGED = [b"\0" * 9 + b"\n", b"\n", b"{}\n", b"\0" * 3000 + b"\n", b'{"id": 7, "type": "state"}\n', b"5\n"]


def ids_streamed(client: httpx.Client, running: Lease, after: int = 0) -> list[int]:
    """The ids of the events after this one, up to the end of the stream."""
    headers = {**STREAM, "last-event-id": str(after)}
    with client.stream("GET", f"/jobs/{running.id}/events", headers=headers) as answer:
        return [one["id"] for one in events(answer)]


@pytest.mark.parametrize("up_to", [1, 2, 20, 53])
def test_there_is_no_gap_where_the_mirror_meets_the_stream(
    client: httpx.Client, worker: Worker, volume: Volume, running: Lease, up_to: int
) -> None:
    advance(worker, running, 50)
    worker.run(leave(running, State.SUCCEEDED))
    mirror(worker, volume, running, up_to)
    for after in (0, 10, 19, 20, 21):
        assert ids_streamed(client, running, after) == list(range(after + 1, 54))


def test_all_events_of_a_finished_job_can_be_read_after_trimming(
    client: httpx.Client, worker: Worker, redis_url: str, volume: Volume, running: Lease
) -> None:
    advance(worker, running, 100)
    worker.run(leave(running, State.SUCCEEDED))
    Mirror(Store(redis_url), volume).copy_events(RecordKind.JOB)
    entry, _ = stream(worker, running)[0]
    oldest = int(entry.partition("-")[0])
    assert oldest > 50
    for after in (0, oldest - 2, oldest - 1, oldest, oldest + 1):
        assert ids_streamed(client, running, after) == list(range(after + 1, 104))
        listed = client.get(f"/jobs/{running.id}/events?after={after}", headers=JSON).json()
        assert [one["id"] for one in listed["events"]] == list(range(after + 1, 104))


def test_log_longer_than_a_batch_is_read_completely(
    client: httpx.Client, worker: Worker, volume: Volume, running: Lease
) -> None:
    advance(worker, running, 1300)
    mirror(worker, volume, running, 1100)
    worker.run(leave(running, State.SUCCEEDED))
    assert ids_streamed(client, running) == list(range(1, 1304))


def test_torn_last_line_of_the_mirror_is_ignored(
    client: httpx.Client, worker: Worker, volume: Volume, running: Lease
) -> None:
    advance(worker, running, 10)
    mirror(worker, volume, running, 5)
    with volume.events(running.id).open("a") as file:
        file.write('{"id": 6, "ty')
    worker.run(leave(running, State.SUCCEEDED))
    assert ids_streamed(client, running) == list(range(1, 14))


def test_corrupt_line_of_the_mirror_loses_only_its_own_event(
    client: httpx.Client, worker: Worker, volume: Volume, running: Lease
) -> None:
    advance(worker, running, 10)
    mirror(worker, volume, running, 8)
    lines = volume.events(running.id).read_text().splitlines(keepends=True)
    volume.events(running.id).write_text("".join([*lines[:3], "\0" * 9 + "\n", *lines[4:]]))
    worker.run(leave(running, State.SUCCEEDED))
    assert ids_streamed(client, running) == [1, 2, 3, *range(5, 14)]


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_event_of_a_type_that_only_a_newer_worker_knows_is_passed_on(
    client: httpx.Client, worker: Worker, redis_url: str, volume: Volume, running: Lease, *, is_mirrored: bool
) -> None:
    worker.run(report(running, 1, event=(cast("EventType", "sketch"), {"lines": 3})))
    advance(worker, running, 100)
    worker.run(leave(running, State.SUCCEEDED))
    if is_mirrored:
        Mirror(Store(redis_url), volume).copy_events(RecordKind.JOB)
        assert worker.redis.xlen(KEYS[RecordKind.JOB].events_of + running.id) < 100
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        streamed = [(one["id"], one["event"], one["data"]) for one in events(answer)]
    assert streamed[2] == (3, "sketch", {"lines": 3})
    listed = client.get(f"/jobs/{running.id}/events", headers=JSON).json()["events"]
    assert [(one["id"], one["type"], one["data"]) for one in listed] == streamed
    with Client(str(client.base_url)) as face:
        assert [(event.id, event.type, event.data) for event in face.events(running.id)] == streamed


@pytest.fixture
def unreadable(worker: Worker, volume: Volume, running: Lease) -> Path:
    """The log of a running job, with 10 of its 12 events, put aside; in its place is a loop of symlinks."""
    advance(worker, running, 10)
    mirror(worker, volume, running, 10)
    log = volume.events(running.id)
    aside = log.rename(log.with_suffix(".aside"))
    log.symlink_to(log)
    return aside


def test_stream_goes_on_once_the_mirror_can_be_read_again(
    client: httpx.Client,
    worker: Worker,
    volume: Volume,
    running: Lease,
    unreadable: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker.run(leave(running, State.SUCCEEDED))
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        seen = messages(answer)
        assert [next(seen) for _ in range(3)] == [{"comment": ": heartbeat"}] * 3
        unreadable.replace(volume.events(running.id))
        assert [one["id"] for one in seen if "id" in one] == list(range(1, 14))
    told = [record for record in caplog.records if "cannot be read from the volume" in record.message]
    assert [record.exc_info for record in told] == [None]


@pytest.mark.usefixtures("unreadable")
def test_list_that_needs_an_unreadable_mirror_is_refused_for_now(
    client: httpx.Client, running: Lease
) -> None:
    answer = client.get(f"/jobs/{running.id}/events", headers=JSON)
    problem = refused(answer, 503, "volume_failing")
    assert problem["retryable"]
    assert answer.headers["retry-after"]
    assert f"The older events of {running.id} cannot be read" in problem["detail"]
    newest = client.get(f"/jobs/{running.id}/events?after=10", headers=JSON).json()
    assert [one["id"] for one in newest["events"]] == [11, 12]


def line(event_id: int, width: int = 0) -> bytes:
    event = Event(id=event_id, type="warning", at_ms=1, data=f'{{"detail":"{"é" * width}"}}')
    return event.model_dump_json().encode() + b"\n"


class CountedFile(io.BytesIO):
    """Counts the lines that are read."""

    lines = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        self.lines += 1
        return super().readline(size)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_found_is_what_reading_every_line_would_find(seed: int) -> None:
    """With gaps in the ids, damaged lines anywhere, and a torn last one."""
    random = Random(seed)
    ids = sorted(random.sample(range(1, 60), 20))
    lines = [line(event_id, random.choice([0, 5, 400])) for event_id in ids]
    for _ in range(seed):
        lines.insert(random.randrange(len(lines) + 1), random.choice(DAMAGED))
    file = io.BytesIO(b"".join(lines) + line(60)[: random.randrange(len(line(60)))])
    for after in range(61):
        for before in (after, after + 1, after + 9, WHOLE):
            wanted = [event_id for event_id in ids if after < event_id < before]
            assert [event.id for event in read(file, after, before, 50)] == wanted
            assert [event.id for event in read(file, after, before, 3)] == wanted[:3]


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 100, b'{"id": 1, "ty', b"".join(DAMAGED)])
def test_log_without_any_event_is_read_as_empty(content: bytes) -> None:
    assert read(io.BytesIO(content), 0, WHOLE, 50) == []


@pytest.mark.parametrize("after", [0, 1, 20_000, 39_990])
def test_few_lines_of_a_long_log_are_read_to_find_some(after: int) -> None:
    file = CountedFile(b"".join(map(line, range(1, 40_001))))
    assert [event.id for event in read(file, after, WHOLE, 5)] == list(range(after + 1, after + 6))
    assert file.lines < 100
