"""A small fake service behind a real socket, which can be told how to misbehave."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from dcgan.replies import FINAL

JOB = "job_0000000000000000"


@dataclass
class Service:
    """The state of the fake service: its data, the requests it received, and the faults it simulates."""

    events: list[tuple[int, str, dict[str, object]]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)  # bytes after which the next streams break off
    outages: int = 0  # the number of requests to answer with 503
    losses: int = 0  # the number of requests to leave unanswered
    # what the next requests for the job find: a state, "away" or "lost"; after that, the last event's
    states: list[str] = field(default_factory=list)
    pause: threading.Barrier | None = None  # where each request waits for the test, on arrival and once more
    # "GET /path" -> status, media type, body
    answers: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    page: bytes = b""  # the response of another server to every request
    encoding: str = ""  # what every response claims to be encoded with
    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    idempotency_keys: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers as the gateway does, except for the faults that the test orders."""

    protocol_version = "HTTP/1.1"
    service: Service

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.service.idempotency_keys.append(self.headers.get("Idempotency-Key"))
        self.service.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class names it so
        """Stay quiet."""

    def _answer(self) -> None:
        self.service.asked.append(f"{self.command} {self.path}")
        path = urlsplit(self.path).path
        if self.service.pause:
            self.service.pause.wait()
            self.service.pause.wait()
        if self.service.losses:
            self.service.losses -= 1
            self.close_connection = True
        elif self.service.outages:
            self.service.outages -= 1
            self._send(503, "text/plain", b"away")
        elif self.service.page:
            self._send(200, "text/html; charset=utf-8", self.service.page)
        elif answer := self.service.answers.get(f"{self.command} {path}"):
            self._send(*answer)
        elif path == f"/jobs/{JOB}/events":
            self._tell_events()
        elif path == f"/jobs/{JOB}":
            self._tell_job()
        else:
            self._send(404, "text/plain", b"nothing")

    def _tell_job(self) -> None:
        state = self.service.states.pop(0) if self.service.states else self.service.events[-1][2]["state"]
        if state == "lost":
            self.close_connection = True
        elif state == "away":
            self._send(503, "text/plain", b"away")
        else:
            self._send_json({"id": JOB, "state": state, "progress": {"images_seen": 0, "total": 1}})

    def _tell_events(self) -> None:
        if self.headers["Accept"] == "text/event-stream":
            after = int(self.headers["Last-Event-ID"])
            news = [event for event in self.service.events if event[0] > after]
            if after and not news and self.service.events[-1][2].get("state") in FINAL:
                self._send(204, "text/event-stream", b"")
            else:
                self._stream(news)
        else:
            [after_text] = parse_qs(urlsplit(self.path).query)["after"]
            news = [event for event in self.service.events if event[0] > int(after_text)]
            self._send_json({"events": [_as_json(event) for event in news[:2]], "next": "unused"})

    def _stream(self, news: list[tuple[int, str, dict[str, object]]]) -> None:
        told = b": hello\n\n" + b"".join(_as_message(event) for event in news)
        cut = self.service.cuts.pop(0) if self.service.cuts else None
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self._claim_encoding()
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = told[:cut]
        if sent:
            self.wfile.write(f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
        if cut is None:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True  # without the last chunk this is a broken connection

    def _send_json(self, value: object) -> None:
        self._send(200, "application/json", json.dumps(value).encode())

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self._claim_encoding()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _claim_encoding(self) -> None:
        if self.service.encoding:
            self.send_header("Content-Encoding", self.service.encoding)


def _as_json(event: tuple[int, str, dict[str, object]]) -> dict[str, object]:
    return {"id": event[0], "type": event[1], "data": event[2]}


def _as_message(event: tuple[int, str, dict[str, object]]) -> bytes:
    data = json.dumps(event[2], ensure_ascii=False)
    return f"id: {event[0]}\nevent: {event[1]}\ndata: {data}\n\n".encode()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll without a pause."""
    monkeypatch.setattr("dcgan.polling.SHORTEST_PAUSE_SECONDS", 0)


@pytest.fixture
def service() -> Iterator[Service]:
    """A fresh fake service, listening."""
    state = Service()
    handler = type("ItsHandler", (Handler,), {"service": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()
