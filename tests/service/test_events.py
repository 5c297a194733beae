"""A job's events, replayed and live, streamed and listed: none is missed or duplicated."""

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing, closing
from pathlib import Path
from random import Random

import httpx
import pytest

from contract.events import EventType
from contract.job import Progress, State
from contract.keys import CHANGES, JOB_KEYS, RecordKind
from contract.owning import Lease, beat, leave, report
from contract.volume import Volume
from dcgan.connection import Connection
from dcgan.events import EventFeed
from service.events import stream
from service.gateway import Gateway
from service.settings import Settings
from tests.conftest import proof
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.serving import client_of
from tests.service.watching import JSON, STREAM, advance, events, messages
from worker.mirror import Mirror
from worker.store import Store

RECONNECTS = proof(50, 1000)


def test_stream_replays_then_goes_live_and_ends_with_the_job(
    client: httpx.Client, worker: Worker, running: Lease
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
    client: httpx.Client, worker: Worker, running: Lease, after: int, how: str
) -> None:
    advance(worker, running, 50)
    worker.run(leave(running, State.SUCCEEDED))
    headers = {**STREAM, "last-event-id": str(after)} if how == "header" else STREAM
    query = "" if how == "header" else f"?last_event_id={after}"
    with client.stream("GET", f"/jobs/{running.id}/events{query}", headers=headers) as answer:
        assert [one["id"] for one in events(answer)] == list(range(after + 1, 54))


def test_last_event_id_of_zero_overrides_after(client: httpx.Client, worker: Worker, running: Lease) -> None:
    worker.run(leave(running, State.SUCCEEDED))
    answer = client.get(f"/jobs/{running.id}/events?last_event_id=0&after=2", headers=JSON)
    assert [one["id"] for one in answer.json()["events"]] == [1, 2, 3]


def test_a_client_that_has_everything_is_told_not_to_reconnect(
    client: httpx.Client, worker: Worker, running: Lease
) -> None:
    worker.run(leave(running, State.SUCCEEDED))
    answer = client.get(f"/jobs/{running.id}/events", headers={**STREAM, "last-event-id": "3"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_events_during_the_replay_arrive_exactly_once(
    client: httpx.Client, worker: Worker, running: Lease
) -> None:
    def work() -> None:
        advance(worker, running, 300)
        worker.run(leave(running, State.SUCCEEDED))

    thread = threading.Thread(target=work)
    thread.start()
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        assert [one["id"] for one in events(answer)] == list(range(1, 304))
    thread.join()


def test_idle_stream_sends_heartbeats(client: httpx.Client, running: Lease) -> None:
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        comments = (one for one in messages(answer) if "comment" in one)
        assert [next(comments)["comment"] for _ in range(2)] == [": heartbeat"] * 2


def test_hanging_redis_delays_no_heartbeat(tmp_path: Path) -> None:
    async def watch(redis_url: str) -> tuple[list[bytes], bool]:
        gateway = Gateway(Settings(data_root=tmp_path, redis_url=redis_url, heartbeat_seconds=0.01))
        look = asyncio.create_task(gateway.store.ping())
        async with aclosing(stream(gateway, "job_0123456789abcdef", 0)) as sent:
            seen = [await anext(sent) for _ in range(4)]
        is_looking = not look.done()
        look.cancel()
        await gateway.store.close()
        return seen, is_looking

    with socket.create_server(("127.0.0.1", 0)) as silent:
        seen, is_looking = asyncio.run(watch(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
    assert seen == [b"retry: 1000\n\n", *[b": heartbeat\n\n"] * 3]
    assert is_looking, "they waited for Redis"


def test_event_is_sent_at_once_and_not_with_the_next_heartbeat(
    redis_url: str, worker: Worker, running: Lease
) -> None:
    settings = Settings(data_root=worker.volume.root, redis_url=redis_url, heartbeat_seconds=60)
    with (
        client_of(settings) as other,
        other.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer,
    ):
        seen = events(answer)
        assert [next(seen)["id"] for _ in range(2)] == [1, 2]
        for revision in range(3, 6):
            advance(worker, running, 1)
            assert next(seen)["id"] == revision
        worker.run(leave(running, State.SUCCEEDED))
        assert [one["id"] for one in seen] == [6]


def test_all_watchers_share_one_subscription(client: httpx.Client, worker: Worker, running: Lease) -> None:
    with ExitStack() as open_streams:
        for _ in range(5):
            stream = client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM)
            next(events(open_streams.enter_context(stream)))
        assert worker.redis.pubsub_numsub(CHANGES) == [(CHANGES, 1)]


def test_reads_per_event_do_not_grow_with_the_number_of_watchers(
    redis_url: str, worker: Worker, running: Lease
) -> None:
    watchers, steps = 40, 25
    up_to_date = threading.Barrier(watchers + 1)
    no_beats = Settings(data_root=worker.volume.root, redis_url=redis_url, heartbeat_seconds=600)

    def watch(client: httpx.Client) -> list[int]:
        with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
            seen = (one["id"] for one in events(answer))
            known = [next(seen), next(seen)]
            up_to_date.wait()
            return known + list(seen)

    with client_of(no_beats) as client, ThreadPoolExecutor(watchers) as threads:
        watching = [threads.submit(watch, client) for _ in range(watchers)]
        up_to_date.wait()
        before = _reads(worker)
        for _ in range(steps):
            advance(worker, running, 1)
            time.sleep(0.02)
        worker.run(leave(running, State.SUCCEEDED))
        assert all(one.result() == list(range(1, steps + 4)) for one in watching)
    assert _reads(worker) - before <= 3 * steps


def _reads(worker: Worker) -> int:
    """The number of reads from event streams since Redis was started."""
    return int(worker.redis.info("commandstats").get("cmdstat_xrange", {}).get("calls", 0))


def test_reconnecting_at_any_event_misses_and_duplicates_none(
    client: httpx.Client,
    worker: Worker,
    redis_url: str,
    volume: Volume,
    running: Lease,
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
    with client_of(settings) as other:
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


def test_the_stream_of_a_deleted_job_ends(
    client: httpx.Client, worker: Worker, new_job: Callable[[], str]
) -> None:
    """Even if it had no time to show how the job ended."""
    job_id = new_job()
    with client.stream("GET", f"/jobs/{job_id}/events", headers=STREAM) as answer:
        seen = events(answer)
        next(seen)
        worker.redis.delete(JOB_KEYS.record_of + job_id, JOB_KEYS.events_of + job_id)
        assert list(seen) == []


def test_list_and_stream_contain_the_same_events(
    client: httpx.Client, worker: Worker, running: Lease
) -> None:
    advance(worker, running, 5)
    worker.run(report(running, 1, event=(EventType.WARNING, {"code": "slow", "detail": "It is\nslow."})))
    worker.run(leave(running, State.SUCCEEDED))
    listed = client.get(f"/jobs/{running.id}/events", headers=JSON).json()["events"]
    with client.stream("GET", f"/jobs/{running.id}/events", headers=STREAM) as answer:
        streamed = list(events(answer))
    assert [(one["id"], one["type"], one["data"]) for one in listed] == [
        (one["id"], one["event"], one["data"]) for one in streamed
    ]


def test_list_is_paged_through_its_next_url(client: httpx.Client, worker: Worker, running: Lease) -> None:
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
    client: httpx.Client, worker: Worker, running: Lease, streams: bool
) -> None:
    """A feed that does not stream polls the list, as it must behind a proxy that buffers streams."""
    advance(worker, running, 5)
    worker.run(leave(running, State.SUCCEEDED))
    with closing(Connection(str(client.base_url), 60)) as connection:
        for after in (0, 4, 8):
            feed = EventFeed(connection, running.id, after, pause_seconds=0)
            feed._streams = streams
            assert [event.id for event in feed] == list(range(after + 1, 9))


def test_other_media_types_are_refused(client: httpx.Client, running: Lease) -> None:
    answer = client.get(f"/jobs/{running.id}/events", headers={"accept": "text/html"})
    assert "application/json" in refused(answer, 406, "not_acceptable")["detail"]
