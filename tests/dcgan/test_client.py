"""The client: what it sends, how it retries and waits, and how errors read."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from contract.dataset import RejectedFile
from dcgan import Client, DcganError, replies
from service import dataset_views, job_views
from tests.dcgan.conftest import Service


def test_dataset_is_uploaded_unchanged(service: Service, tmp_path: Path) -> None:
    archive = tmp_path / "cats.zip"
    archive.write_bytes(bytes(range(256)) * 1000)
    service.answers["POST /datasets"] = (202, "application/json", b'{"id": "ds_1", "state": "queued"}')
    with Client(service.url) as client:
        assert client.upload_dataset(archive).id == "ds_1"
    assert service.bodies == [archive.read_bytes()]
    assert service.asked == ["POST /datasets?name=cats"]


@pytest.mark.parametrize("method", ["upload_dataset", "import_model"])
def test_missing_file_is_a_refusal_like_any_other(service: Service, tmp_path: Path, method: str) -> None:
    with Client(service.url) as client, pytest.raises(DcganError, match="No such file") as refusal:
        getattr(client, method)(tmp_path / "nofile.zip")
    assert (refusal.value.code, refusal.value.status) == ("not_a_file", None)


def test_problem_document_becomes_an_exception(service: Service) -> None:
    problem = {
        "code": "invalid_request",
        "detail": "batch_size is 1; at least 2.",
        "errors": [{"pointer": "/batch_size", "detail": "at least 2"}],
    }
    service.answers["POST /jobs"] = (422, "application/problem+json", json.dumps(problem).encode())
    with Client(service.url) as client, pytest.raises(DcganError, match="batch_size is 1") as caught:
        client.create_job(dataset="ds_1", batch_size=1)
    assert (caught.value.code, caught.value.status) == ("invalid_request", 422)


def _accept_jobs(service: Service) -> None:
    job = {"id": "job_1", "state": "queued", "progress": {"images_seen": 0, "total": 1}}
    service.answers["POST /jobs"] = (202, "application/json", json.dumps(job).encode())


@pytest.mark.parametrize("chosen", [None, "mine"])
def test_job_request_whose_response_was_lost_is_retried_with_the_same_key(
    service: Service, monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    monkeypatch.setattr("dcgan.client.RETRY_PAUSES_SECONDS", (0.0, 0.0))
    _accept_jobs(service)
    service.losses = 2
    with Client(service.url) as client:
        assert client.create_job(dataset="ds_1", idempotency_key=chosen).id == "job_1"
    assert len(service.bodies) == 3
    assert len(set(service.idempotency_keys)) == 1
    assert service.idempotency_keys[0] == (chosen or service.idempotency_keys[0])


@pytest.mark.parametrize(
    ("code", "requests"), [("store_unavailable", 3), ("volume_failing", 3), ("internal", 1)]
)
def test_job_request_that_may_have_passed_is_retried_a_few_times(
    service: Service, monkeypatch: pytest.MonkeyPatch, code: str, requests: int
) -> None:
    monkeypatch.setattr("dcgan.client.RETRY_PAUSES_SECONDS", (0.0, 0.0))
    problem = json.dumps({"code": code, "detail": "It failed."}).encode()
    service.answers["POST /jobs"] = (503, "application/problem+json", problem)
    with Client(service.url) as client, pytest.raises(DcganError, match="It failed"):
        client.create_job(dataset="ds_1")
    assert len(service.bodies) == requests
    assert len(set(service.idempotency_keys)) == 1


def test_two_jobs_have_different_idempotency_keys(service: Service) -> None:
    _accept_jobs(service)
    with Client(service.url) as client:
        for _ in range(2):
            client.create_job(dataset="ds_1")
    assert len(set(service.idempotency_keys)) == 2


def test_job_request_may_hold_numbers_of_numpy_and_records(service: Service) -> None:
    _accept_jobs(service)
    dataset = replies.Dataset(id="ds_1", state="ready")
    with Client(service.url) as client:
        client.create_job(dataset=dataset, images=np.int64(64), beta1=np.float32(0.5), name="café")
    sent = {"dataset": "ds_1", "images": 64, "beta1": 0.5, "name": "café"}
    assert json.loads(service.bodies[0]) == sent


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({1, 2}, r"\{1, 2\} is a set, for which JSON has no value"),
        (float("nan"), "Out of range float values"),
    ],
)
def test_value_that_json_does_not_have_is_reported(service: Service, value: object, told: str) -> None:
    with Client(service.url) as client, pytest.raises(DcganError, match=told) as caught:
        client.create_job(dataset="ds_1", images=value)
    assert caught.value.code == "not_sendable"
    assert not service.asked


def test_response_of_an_intermediary_becomes_an_exception(service: Service) -> None:
    service.answers["GET /samples"] = (502, "text/html", b"<h1>Bad Gateway</h1>")
    with Client(service.url) as client, pytest.raises(DcganError, match="502 Bad Gateway"):
        client.samples(7)


def test_nonstandard_status_becomes_an_exception(service: Service) -> None:
    service.answers["GET /samples"] = (520, "text/html", b"<h1>Web server returns an unknown error</h1>")
    with Client(service.url) as client, pytest.raises(DcganError, match="answered 520"):
        client.samples(7)


def test_unreachable_service_is_reported_as_such() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(DcganError, match="dcgan up") as caught:
        client.job("job_1")
    assert caught.value.status is None


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The URL of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_slow_service_is_not_reported_as_unreachable(silent_url: str) -> None:
    with Client(silent_url, timeout_seconds=0.05) as client, pytest.raises(DcganError) as caught:
        client.job("job_1")
    assert "did not answer within 0.05 s; it may still be at work" in caught.value.detail
    assert "dcgan up" not in caught.value.detail


def test_import_timeout_is_as_long_as_the_service_may_take(
    silent_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcgan.client.MADE_WITHIN_SECONDS", 0.05)
    (tmp_path / "one.safetensors").write_bytes(b"x")
    with Client(silent_url) as client, pytest.raises(DcganError, match=r"within 0\.05 s"):
        client.import_model(tmp_path / "one.safetensors")


def test_list_is_read_to_its_last_page(service: Service) -> None:
    first = {"items": [{"id": "ds_2", "state": "queued"}], "next": "/older?cursor=5"}
    last = {"items": [{"id": "ds_1", "state": "ready", "bytes": 9}], "next": None}
    service.answers["GET /datasets"] = (200, "application/json", json.dumps(first).encode())
    service.answers["GET /older"] = (200, "application/json", json.dumps(last).encode())
    with Client(service.url) as client:
        assert [dataset.id for dataset in client.datasets()] == ["ds_2", "ds_1"]
    assert service.asked[-1] == "GET /older?cursor=5"


def test_waiting_for_a_failed_dataset_raises(service: Service) -> None:
    failed = {"id": "ds_1", "state": "failed", "error": {"code": "no_images", "detail": "No picture in it."}}
    service.answers["GET /datasets/ds_1"] = (200, "application/json", json.dumps(failed).encode())
    with Client(service.url) as client, pytest.raises(DcganError, match="No picture in it"):
        client.wait_dataset("ds_1")


def _ready(service: Service) -> None:
    service.answers["GET /datasets/ds_1"] = (200, "application/json", b'{"id": "ds_1", "state": "ready"}')


def test_waiting_survives_an_outage(service: Service) -> None:
    _ready(service)
    service.losses, service.outages = 1, 1
    with Client(service.url) as client:
        assert client.wait_dataset("ds_1").state == "ready"
    assert len(service.asked) == 3


def test_waiting_gives_up_on_a_service_that_stays_away(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcgan.polling.PATIENCE_SECONDS", 0)
    _ready(service)
    service.outages = 9
    with Client(service.url) as client, pytest.raises(DcganError, match="503 Service Unavailable"):
        client.wait_dataset("ds_1")


def test_timeout_of_waiting_for_a_dataset_reports_its_state(service: Service) -> None:
    service.answers["GET /datasets/ds_1"] = (200, "application/json", b'{"id": "ds_1", "state": "queued"}')
    with Client(service.url) as client, pytest.raises(DcganError, match="still queued") as caught:
        client.wait_dataset("ds_1", timeout_seconds=0)
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (replies.Dataset, dataset_views.Dataset),
        (replies.RejectedFile, RejectedFile),
        (replies.Job, job_views.Job),
        (replies.Checkpoint, job_views.Checkpoint),
    ],
)
def test_every_declared_field_is_one_that_the_service_sends(
    ours: type[BaseModel], theirs: type[BaseModel]
) -> None:
    assert set(ours.model_fields) <= set(theirs.model_fields)


def test_what_a_dataset_and_a_job_contain_has_types(service: Service) -> None:
    rejected = [{"name": "a.txt", "reason": "It is no picture."}]
    ready = {"id": "ds_1", "state": "ready", "rejected_images": 1, "rejected": rejected, "channels": 3}
    service.answers["GET /datasets/ds_1"] = (200, "application/json", json.dumps(ready).encode())
    job = {"id": "job_1", "state": "queued", "progress": {"images_seen": 0, "total": 1}}
    best = {"digest": "sha256:ab", "images_seen": 64, "metrics": {"fd": 1.5}}
    job |= {"spec": {"batch_size": 32}, "stalled_reason": "It needs 2 devices.", "checkpoint": best}
    service.answers["GET /jobs/job_1"] = (200, "application/json", json.dumps(job).encode())
    with Client(service.url) as client:
        dataset, told = client.dataset("ds_1"), client.job("job_1")
    assert dataset.rejected is not None
    assert (dataset.rejected_images, dataset.rejected[0].reason) == (1, "It is no picture.")
    assert (dataset.channels, dataset.held_out_images, dataset.duplicate_images) == (3, None, None)
    assert (told.spec["batch_size"], told.stalled_reason) == (32, "It needs 2 devices.")
    assert told.checkpoint is not None
    assert told.checkpoint.metrics == {"fd": 1.5}


def _tell_job(service: Service, state: str) -> None:
    job = {"id": "job_1", "state": state, "progress": {"images_seen": 0, "total": 1}}
    service.answers["GET /jobs/job_1"] = (200, "application/json", json.dumps(job).encode())


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_waiting_for_a_job_survives_an_outage_until_the_job_is_final(service: Service, state: str) -> None:
    _tell_job(service, state)
    service.losses, service.outages = 1, 1
    with Client(service.url) as client:
        assert client.wait_job("job_1").state == state
    assert len(service.asked) == 3


def test_waiting_for_a_paused_job_ends_at_the_timeout(service: Service) -> None:
    _tell_job(service, "paused")
    with Client(service.url) as client, pytest.raises(DcganError, match="still paused after 0 s") as caught:
        client.wait_job("job_1", timeout_seconds=0)
    assert caught.value.code == "timeout"


def test_samples_url_contains_every_option() -> None:
    with Client("http://127.0.0.1:8000") as client:
        address = client.samples_url(7, "sha256:ab", 4, format="webp", scale=2)
    assert address == "http://127.0.0.1:8000/samples?seed=7&count=4&model=sha256:ab&format=webp&scale=2"


@pytest.mark.parametrize("slash", ["", "/"])
def test_samples_are_requested_below_the_path_of_the_service(service: Service, slash: str) -> None:
    service.answers["GET /prefix/samples"] = (200, "image/png", b"picture")
    with Client(f"{service.url}/prefix{slash}") as client:
        assert client.samples_url(7) == f"{service.url}/prefix/samples?seed=7&count=1"
        assert client.samples(7) == b"picture"


def test_samples_of_many_seeds_or_latents_are_one_request(service: Service) -> None:
    service.answers["POST /samples"] = (200, "image/png", b"picture")
    with Client(service.url) as client:
        assert client.samples_of(seeds=range(7, 4, -1), columns=2) == b"picture"
        client.samples_of(latents=[(0.5, 1.0)], model="best")
        client.samples_of(seeds=np.arange(2))
        client.samples_of(latents=np.ones((1, 2), np.float32))
        client.samples_of(latents=[np.zeros(1), [np.float32(0.5)]])
    assert [json.loads(body) for body in service.bodies] == [
        {"seeds": [7, 6, 5], "columns": 2},
        {"latents": [[0.5, 1.0]], "model": "best"},
        {"seeds": [0, 1]},
        {"latents": [[1.0, 1.0]]},
        {"latents": [[0.0], [0.5]]},
    ]
