"""A job's events over a connection that may break: server-sent events, resumed where they broke off.

The stream follows the WHATWG HTML standard (section 9.2). Each event's id is its number in the job's log, so
no event is missed or repeated, however often the connection drops.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from dcgan.connection import Connection, check, path_to
from dcgan.errors import DcganError, may_pass, not_the_service
from dcgan.replies import FINAL, Job

SILENCE_SECONDS = 40
"""The service sends a comment every 15 s by default; a connection silent for longer than this is dead."""

PATIENCE_SECONDS = 60.0
"""How long the service may be away before waiting for something fails."""


@dataclass(frozen=True)
class Event:
    """One entry of a job's log."""

    id: int
    type: str
    data: Mapping[str, object]

    @property
    def is_final(self) -> bool:
        """Whether no other event can follow."""
        return self.type == "state" and self.data.get("state") in FINAL


class EventFeed:
    """The events of one job after a given one, until the job is final.

    If nothing at all arrives over a connection, a proxy is buffering the stream: the feed polls from then on.
    """

    def __init__(
        self,
        service: Connection,
        job_id: str,
        after: int = 0,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        pause_seconds: float = 1,
    ) -> None:
        self._service = service
        self._job = path_to("jobs", job_id)
        self._last = after
        self._patience_seconds = patience_seconds
        self._pause_seconds = pause_seconds
        self._streams = True
        self._over = False
        self._heard_at = 0.0

    def __iter__(self) -> Iterator[Event]:
        """Yield each event once.

        Raises:
            DcganError: if the service refuses, or is away for longer than `patience_seconds`.
        """
        self._heard_at = time.monotonic()
        while True:
            try:
                yield from self._listen() if self._streams else self._ask()
                if not self._over and self._service.get(Job, self._job).is_final:
                    yield from self._ask_for_the_rest()
                self._heard_at = time.monotonic()
            except DcganError as error:
                if not may_pass(error) or time.monotonic() - self._heard_at > self._patience_seconds:
                    raise
            if self._over:
                return
            time.sleep(self._pause_seconds)

    def _listen(self) -> Iterator[Event]:
        wanted = {"Accept": "text/event-stream", "Last-Event-ID": str(self._last)}
        silence = httpx.Timeout(10, read=SILENCE_SECONDS)
        with self._service.stream(f"{self._job}/events", headers=wanted, timeout=silence) as response:
            if response.status_code == HTTPStatus.NO_CONTENT:
                self._over = True
                return
            check(response, "text/event-stream")
            self._streams = False  # until something arrives
            try:
                yield from self._news(read_messages(self._heard(response.iter_bytes())))
            except (ValueError, TypeError) as error:
                raise not_the_service(response.url) from error

    def _ask(self) -> Iterator[Event]:
        response = self._service.send(
            "GET",
            f"{self._job}/events",
            params={"after": str(self._last)},
            headers={"Accept": "application/json"},
            media_type="application/json",
        )
        try:
            events = [
                _event(event["id"], event["type"], event["data"]) for event in response.json()["events"]
            ]
        except (ValueError, LookupError, TypeError) as error:
            raise not_the_service(response.url) from error
        yield from self._news(events)

    def _ask_for_the_rest(self) -> Iterator[Event]:
        before = None
        while before != self._last and not self._over:
            before = self._last
            yield from self._ask()
        self._over = True

    def _heard(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._streams = True
            self._heard_at = time.monotonic()
            yield chunk

    def _news(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            if event.id > self._last:
                self._last = event.id
                self._over = event.is_final
                yield event
                self._heard_at = time.monotonic()  # the reader's own time is not an outage
            if self._over:
                return


def read_messages(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Parse a stream into events. One that a dropped connection cut off is discarded.

    Raises:
        ValueError, TypeError: it holds something else.
    """
    fields: dict[str, str] = {}
    for line in _lines(chunks):
        if not line:
            if "id" in fields and "data" in fields:
                yield _event(fields["id"], fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value


def _event(number: str | int, kind: str, data: object) -> Event:
    if not isinstance(data, dict):
        raise TypeError("an event's data is an object")
    return Event(int(number), kind, data)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Whole lines. `str.splitlines` would also split at characters that JSON may contain, such as U+2028."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode()
