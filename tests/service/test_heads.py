"""HEAD is answered like GET at every URL, but without the body."""

import httpx
import pytest

from contract.keys import RecordKind
from tests.service.document import openapi
from tests.service.playing import Worker

_PATHS = [path for path, operations in openapi()["paths"].items() if "get" in operations]
_CHANGES = {"date", "server-timing"}


@pytest.fixture
def job(client: httpx.Client, worker: Worker, dataset: str) -> str:
    """A job in training, with a checkpoint."""
    job_id: str = client.post("/jobs", json={"dataset": dataset}).json()["id"]
    worker.checkpoint(worker.claim(RecordKind.JOB))
    return job_id


@pytest.mark.parametrize("path", _PATHS)
def test_head_has_the_status_and_headers_of_get(
    client: httpx.Client, path: str, job: str, dataset: str
) -> None:
    named = {"job_id": job, "dataset_id": dataset, "reference": job, "alias": "none", "images_seen": "7"}
    address = path.format(code="internal", **named)
    accept = {"accept": "application/json"}
    got = client.get(address, headers=accept)
    head = client.head(address, headers=accept)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert _lasting(head) == _lasting(got)


def test_head_of_an_endless_stream_returns(client: httpx.Client, job: str) -> None:
    head = client.head(f"/jobs/{job}/events")
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert client.get("/livez").json() == {"alive": True}  # over the same connection


def test_head_is_refused_like_get(client: httpx.Client) -> None:
    for address, status in (("/jobs?limit=0", 422), ("/jobs/job_0000000000000000", 404), ("/nowhere", 404)):
        assert client.head(address).status_code == client.get(address).status_code == status
    assert client.head("/jobs", headers={"host": "evil.example"}).status_code == 403


def _lasting(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in _CHANGES}
