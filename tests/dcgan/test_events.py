"""The event feed misses nothing and repeats nothing, whatever happens to the connection."""

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from dcgan.connection import Connection
from dcgan.errors import DcganError
from dcgan.events import EventFeed, read_messages
from tests.dcgan.conftest import JOB, Service

LOG: list[tuple[int, str, dict[str, object]]] = [
    (1, "state", {"state": "queued"}),
    (2, "state", {"state": "running"}),
    (3, "progress", {"done": 64, "total": 128}),
    (5, "warning", {"detail": "one\u2028two"}),
    (6, "state", {"state": "succeeded"}),
]
NEVER = 10**6


@pytest.fixture
def connection(service: Service) -> Iterator[Connection]:
    service.events = list(LOG)
    with closing(Connection(service.url, 60)) as connection:
        yield connection


def told(connection: Connection, after: int = 0) -> list[tuple[int, str, object]]:
    feed = EventFeed(connection, JOB, after, patience_seconds=60, pause_seconds=0)
    return [(event.id, event.type, dict(event.data)) for event in feed]


def test_whole_stream_is_read_over_one_connection(service: Service, connection: Connection) -> None:
    assert told(connection) == LOG
    assert service.asked == [f"GET /jobs/{JOB}/events"]


def test_each_event_is_yielded_once_wherever_the_connection_drops(
    service: Service, connection: Connection
) -> None:
    for first in range(1, 300, 3):
        service.cuts = [first, first // 2 + 1, NEVER]
        assert told(connection) == LOG, first


def test_only_later_events_are_yielded(connection: Connection) -> None:
    assert told(connection, after=3) == LOG[3:]


def test_feed_falls_back_to_polling_if_the_stream_is_held_back(
    service: Service, connection: Connection
) -> None:
    service.cuts = [0]
    assert told(connection) == LOG
    assert service.asked[-1] == f"GET /jobs/{JOB}/events?after=5"


def test_feed_survives_an_outage(service: Service, connection: Connection) -> None:
    service.outages = 3
    assert told(connection) == LOG


def test_slow_reader_is_not_taken_for_an_outage(service: Service, connection: Connection) -> None:
    service.cuts = [100, NEVER]
    feed, read = EventFeed(connection, JOB, pause_seconds=0), []
    for event in feed:
        read.append(event.id)
        feed._heard_at = -NEVER  # it takes longer than the patience
    assert read == [number for number, _, _ in LOG]


def test_feed_of_a_job_that_was_already_final_ends(service: Service, connection: Connection) -> None:
    assert told(connection, after=6) == []
    assert service.asked == [f"GET /jobs/{JOB}/events"]


def test_service_that_stays_away_is_reported_as_unreachable() -> None:
    nowhere = Connection("http://127.0.0.1:9", 60)  # the discard port: nothing listens there
    with closing(nowhere), pytest.raises(DcganError) as caught:
        list(EventFeed(nowhere, JOB, patience_seconds=0, pause_seconds=0))
    assert caught.value.code == "unreachable"


def test_unsupported_url_is_not_retried(connection: Connection) -> None:
    connection._http.base_url = httpx.URL("localhost:8765")
    with pytest.raises(DcganError, match="unsupported protocol"):
        list(EventFeed(connection, JOB, pause_seconds=0))


@pytest.mark.parametrize("streams", [True, False])
def test_another_server_is_reported_as_such(service: Service, connection: Connection, streams: bool) -> None:
    service.page = b"<h1>It works!</h1>"
    feed = EventFeed(connection, JOB, pause_seconds=0)
    feed._streams = streams
    with pytest.raises(DcganError, match="not as this service does"):
        list(feed)


@pytest.mark.parametrize("streams", [True, False])
def test_answer_that_is_not_encoded_as_it_says_is_reported_as_another_servers(
    service: Service, connection: Connection, streams: bool
) -> None:
    service.encoding = "gzip"
    feed = EventFeed(connection, JOB, pause_seconds=0)
    feed._streams = streams
    with pytest.raises(DcganError, match="not as this service does"):
        list(feed)


@pytest.mark.parametrize(
    "garbage",
    [b"id: x\ndata: {}\n\n", b"id: 1\ndata: {\n\n", b"id: 1\nevent: state\ndata: 5\n\n", b"id: \xff\n\n"],
)
def test_stream_of_something_else_is_reported_as_such(
    service: Service, connection: Connection, garbage: bytes
) -> None:
    service.answers[f"GET /jobs/{JOB}/events"] = (200, "text/event-stream", garbage)
    with pytest.raises(DcganError, match="not as this service does") as caught:
        list(EventFeed(connection, JOB, pause_seconds=0))
    assert caught.value.code == "not_the_service"


def test_refused_request_is_not_retried(service: Service, connection: Connection) -> None:
    with pytest.raises(DcganError) as caught:
        list(EventFeed(connection, "job_zzzzzzzzzzzzzzzz", pause_seconds=0))
    assert caught.value.status == 404
    assert len(service.asked) == 1


def test_messages_do_not_depend_on_how_the_bytes_are_split() -> None:
    stream = b': hello\n\nid: 1\r\nevent: state\ndata: {"a":\ndata: "\xc3\xa9\xe2\x80\xa8"}\n\nid: 2\ndata: {'
    [message] = read_messages([stream])
    assert (message.id, message.type, message.data) == (1, "state", {"a": "é\u2028"})
    assert list(read_messages([bytes([byte]) for byte in stream])) == [message]
