"""A job's events, replayed and live, streamed and listed: none is missed or duplicated."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from random import Random
from typing import Any

import httpx
import pytest

from contract.events import EventType
from contract.job import Progress, State
from contract.keys import CHANGES, KEYS, RecordKind
from contract.store import beat, leave, mirrored, report
from contract.volume import Volume
from dcgan.events import EventFeed
from service.settings import Settings
from tests.conftest import proof
from worker.mirror import Mirror
from worker.store import Store

Refused = Callable[..., dict[str, Any]]
STREAM = {"accept": "text/event-stream"}
JSON = {"accept": "application/json"}
RECONNECTS = proof(50, 1000)


@pytest.fixture
def running(new_job: Callable[[], str], worker: Any) -> Any:
    """The lease of a running job, whose record is at revision 2."""
    new_job()
    return worker.claim()


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


def advance(worker: Any, lease: Any, steps: int) -> None:
    for step in range(steps):
        assert worker.run(beat(lease, Progress(done=step, total=1000)))


def mirror(worker: Any, volume: Volume, lease: Any, up_to: int) -> None:
    """Mirror the stream to the volume up to this event, then trim it, as the reconciler does."""
    entries = worker.redis.xrange(KEYS[RecordKind.JOB].events_of + lease.id)
    lines = [
        json.dumps({"id": int(entry.partition("-")[0]), **fields, "at_ms": int(fields["at_ms"])}) + "\n"
        for entry, fields in entries
        if int(entry.partition("-")[0]) <= up_to
    ]
    volume.events(lease.id).write_text("".join(lines))
    worker.run(mirrored(RecordKind.JOB, lease.id, up_to, 1))


def test_stream_replays_then_goes_live_and_ends_with_the_job(
    client: httpx.Client, worker: Any, running: Any
) -> None:
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = events(answer)
        assert [next(seen)["data"]["state"] for _ in range(2)] == ["queued", "running"]
        worker.run(beat(running, Progress(done=64, total=128, losses={"generator": 0.5})))
        progress = next(seen)
        assert (progress["id"], progress["event"]) == (3, "progress")
        assert progress["data"]["images_seen"] == 64
        assert progress["data"]["fraction"] == 0.5
        worker.run(leave(running, State.SUCCEEDED))
        assert [one["data"] for one in seen] == [{"state": "succeeded"}]


@pytest.mark.parametrize("after", [0, 1, 2, 30, 51, 52])
@pytest.mark.parametrize("how", ["header", "parameter"])
def test_reconnecting_client_gets_exactly_the_missing_events(
    client: httpx.Client, worker: Any, running: Any, after: int, how: str
) -> None:
    advance(worker, running, 50)
    worker.run(leave(running, State.SUCCEEDED))
    headers = {**STREAM, "last-event-id": str(after)} if how == "header" else STREAM
    query = "" if how == "header" else f"?last_event_id={after}"
    with client.stream("GET", f"/jobs/{running.id}/events{query}", headers=headers) as answer:
        assert [one["id"] for one in events(answer)] == list(range(after + 1, 54))


def test_last_event_id_of_zero_overrides_after(client: httpx.Client, worker: Any, running: Any) -> None:
    worker.run(leave(running, State.SUCCEEDED))
    answer = client.get(f"/jobs/{running.id}/events?last_event_id=0&after=2", headers=JSON)
    assert [one["id"] for one in answer.json()["events"]] == [1, 2, 3]


def test_a_client_that_has_everything_is_told_not_to_reconnect(
    client: httpx.Client, worker: Any, running: Any
) -> None:
    worker.run(leave(running, State.SUCCEEDED))
    answer = client.get(f"/jobs/{running.id}/events", headers={**STREAM, "last-event-id": "3"})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("up_to", [1, 2, 20, 53])
@pytest.mark.parametrize("after", [0, 10, 19, 20, 21])
def test_there_is_no_gap_where_the_mirror_meets_the_stream(
    client: httpx.Client, worker: Any, volume: Volume, running: Any, up_to: int, after: int
) -> None:
    advance(worker, running, 50)
    worker.run(leave(running, State.SUCCEEDED))
    mirror(worker, volume, running, up_to)
    headers = {**STREAM, "last-event-id": str(after)}
    with client.stream("GET", f"/jobs/{running.id}/events", headers=headers) as answer:
        assert [one["id"] for one in events(answer)] == list(range(after + 1, 54))


def test_all_events_of_a_finished_job_can_be_read_after_trimming(
    client: httpx.Client, worker: Any, redis_url: str, volume: Volume, running: Any
) -> None:
    advance(worker, running, 100)
    worker.run(leave(running, State.SUCCEEDED))
    Mirror(Store(redis_url), volume).copy_events(RecordKind.JOB)
    [(entry, _)] = worker.redis.xrange(KEYS[RecordKind.JOB].events_of + running.id, count=1)
    oldest = int(entry.partition("-")[0])
    assert oldest > 50
    for after in (0, oldest - 2, oldest - 1, oldest, oldest + 1):
        headers = {**STREAM, "last-event-id": str(after)}
        with client.stream("GET", f"/jobs/{running.id}/events", headers=headers) as answer:
            assert [one["id"] for one in events(answer)] == list(range(after + 1, 104))
        listed = client.get(f"/jobs/{running.id}/events?after={after}", headers=JSON).json()
        assert [one["id"] for one in listed["events"]] == list(range(after + 1, 104))


def test_log_longer_than_a_batch_is_read_completely(
    client: httpx.Client, worker: Any, volume: Volume, running: Any
) -> None:
    advance(worker, running, 1300)
    mirror(worker, volume, running, 1100)
    worker.run(leave(running, State.SUCCEEDED))
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        assert [one["id"] for one in events(answer)] == list(range(1, 1304))


def test_torn_last_line_of_the_mirror_is_ignored(
    client: httpx.Client, worker: Any, volume: Volume, running: Any
) -> None:
    advance(worker, running, 10)
    mirror(worker, volume, running, 5)
    with volume.events(running.id).open("a") as file:
        file.write('{"id": 6, "ty')
    worker.run(leave(running, State.SUCCEEDED))
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        assert [one["id"] for one in events(answer)] == list(range(1, 14))


def test_corrupt_line_of_the_mirror_loses_only_its_own_event(
    client: httpx.Client, worker: Any, volume: Volume, running: Any
) -> None:
    advance(worker, running, 10)
    mirror(worker, volume, running, 8)
    lines = volume.events(running.id).read_text().splitlines(keepends=True)
    volume.events(running.id).write_text("".join([*lines[:3], "\0" * 9 + "\n", *lines[4:]]))
    worker.run(leave(running, State.SUCCEEDED))
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        assert [one["id"] for one in events(answer)] == [1, 2, 3, *range(5, 14)]


def test_events_during_the_replay_arrive_exactly_once(
    client: httpx.Client, worker: Any, running: Any
) -> None:
    def work() -> None:
        advance(worker, running, 300)
        worker.run(leave(running, State.SUCCEEDED))

    thread = threading.Thread(target=work)
    thread.start()
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        assert [one["id"] for one in events(answer)] == list(range(1, 304))
    thread.join()


def test_idle_stream_sends_heartbeats(client: httpx.Client, running: Any) -> None:
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        comments = (one for one in messages(answer) if "comment" in one)
        assert [next(comments)["comment"] for _ in range(2)] == [": heartbeat"] * 2


def test_event_is_sent_at_once_and_not_with_the_next_heartbeat(
    serve: Callable[[Settings], AbstractContextManager[str]], redis_url: str, worker: Any, running: Any
) -> None:
    settings = Settings(data_root=worker.volume.root, redis_url=redis_url, heartbeat_seconds=60)
    with (
        serve(settings) as url,
        httpx.stream("GET", f"{url}/jobs/{running.id}/events", headers=STREAM, timeout=10) as answer,
    ):
        seen = events(answer)
        assert [next(seen)["id"] for _ in range(2)] == [1, 2]
        for revision in range(3, 6):
            advance(worker, running, 1)
            assert next(seen)["id"] == revision
        worker.run(leave(running, State.SUCCEEDED))
        assert [one["id"] for one in seen] == [6]


def test_all_watchers_share_one_subscription(client: httpx.Client, worker: Any, running: Any) -> None:
    with ExitStack() as open_streams:
        for _ in range(5):
            stream = client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM)
            next(events(open_streams.enter_context(stream)))
        assert worker.redis.pubsub_numsub(CHANGES) == [(CHANGES, 1)]


def test_reads_per_event_do_not_grow_with_the_number_of_watchers(
    client: httpx.Client, worker: Any, running: Any
) -> None:
    watchers, steps = 40, 25
    up_to_date = threading.Barrier(watchers + 1)

    def watch() -> list[int]:
        with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
            seen = (one["id"] for one in events(answer))
            known = [next(seen), next(seen)]
            up_to_date.wait()
            return known + list(seen)

    with ThreadPoolExecutor(watchers) as threads:
        watching = [threads.submit(watch) for _ in range(watchers)]
        up_to_date.wait()
        before = _reads(worker)
        for _ in range(steps):
            advance(worker, running, 1)
            time.sleep(0.02)
        worker.run(leave(running, State.SUCCEEDED))
        assert all(one.result() == list(range(1, steps + 4)) for one in watching)
    assert _reads(worker) - before <= 3 * steps


def _reads(worker: Any) -> int:
    """The number of reads from event streams since Redis was started."""
    return int(worker.redis.info("commandstats").get("cmdstat_xrange", {}).get("calls", 0))


def test_reconnecting_at_any_event_misses_and_duplicates_none(
    serve: Callable[[Settings], AbstractContextManager[str]],
    client: httpx.Client,
    worker: Any,
    redis_url: str,
    volume: Volume,
    running: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through two gateways, while the job runs and its stream is mirrored and trimmed."""
    monkeypatch.setattr("worker.mirror.KEPT_IN_REDIS", 30)
    random, told = Random(0), threading.Event()

    def work() -> None:
        while not told.is_set():
            advance(worker, running, 20)
            Mirror(Store(redis_url), volume).copy_events(RecordKind.JOB)
            time.sleep(0.02)
        worker.run(leave(running, State.SUCCEEDED))

    settings = Settings(data_root=volume.root, redis_url=redis_url, heartbeat_seconds=0.1)
    thread = threading.Thread(target=work)
    with serve(settings) as url, httpx.Client(base_url=url) as other:
        thread.start()
        for _ in range(RECONNECTS):
            through = random.choice([client, other])
            revision = client.get(f"/jobs/{running.id}").json()["revision"]
            after, wanted = random.randint(0, revision), random.randint(1, 60)
            headers = {**STREAM, "last-event-id": str(after)}
            with through.stream("GET", f"/jobs/{running.id}/events", headers=headers) as answer:
                seen = [one["id"] for one in itertools.islice(events(answer), wanted)]
            assert seen == list(range(after + 1, after + 1 + wanted))
        told.set()
        thread.join()
        with other.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
            seen = [one["id"] for one in events(answer)]
        assert seen == list(range(1, seen[-1] + 1))


def test_the_stream_of_a_deleted_job_ends(client: httpx.Client, new_job: Callable[[], str]) -> None:
    job_id = new_job()
    with client.stream("GET", f"/jobs/{job_id}/events", headers=STREAM) as answer:
        seen = events(answer)
        next(seen)
        client.post(f"/jobs/{job_id}/cancel")
        client.delete(f"/jobs/{job_id}")
        assert len(list(seen)) <= 1


def test_list_and_stream_contain_the_same_events(client: httpx.Client, worker: Any, running: Any) -> None:
    advance(worker, running, 5)
    worker.run(report(running, 1, event=(EventType.WARNING, {"code": "slow", "detail": "It is\nslow."})))
    worker.run(leave(running, State.SUCCEEDED))
    listed = client.get(f"/jobs/{running.id}/events", headers=JSON).json()["events"]
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        streamed = list(events(answer))
    assert [(one["id"], one["type"], one["data"]) for one in listed] == [
        (one["id"], one["event"], one["data"]) for one in streamed
    ]


def test_list_is_paged_through_its_next_url(client: httpx.Client, worker: Any, running: Any) -> None:
    advance(worker, running, 10)
    seen: list[int] = []
    page = client.get(f"/jobs/{running.id}/events?limit=5", headers=JSON).json()
    while page["events"]:
        seen += [one["id"] for one in page["events"]]
        page = client.get(page["next"], headers=JSON).json()
    assert seen == list(range(1, 13))
    assert page["next"].endswith("after=12&limit=5")


@pytest.mark.parametrize("streams", [True, False])
def test_event_feed_reads_both_stream_and_list_to_the_end(
    client: httpx.Client, worker: Any, running: Any, streams: bool
) -> None:
    """A feed that does not stream polls the list, as it must behind a proxy that buffers streams."""
    advance(worker, running, 5)
    worker.run(leave(running, State.SUCCEEDED))
    for after in (0, 4, 8):
        feed = EventFeed(client, running.id, after, pause_seconds=0)
        feed._streams = streams
        assert [event.id for event in feed] == list(range(after + 1, 9))


def test_other_media_types_are_refused(client: httpx.Client, refused: Refused, running: Any) -> None:
    answer = client.get(f"/jobs/{running.id}/events", headers={"accept": "text/html"})
    assert "application/json" in refused(answer, 406, "not_acceptable")["detail"]
