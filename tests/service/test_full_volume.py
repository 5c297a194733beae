"""A volume that accepts no files: jobs show what they wait for, and can still be steered and deleted."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from contract.job import Shortage, State, Want
from contract.keys import RecordKind
from contract.owning import leave, report
from contract.volume import Volume
from service import deletion, steering
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.waiting import until

SHORTAGE = Shortage(
    code="volume_full",
    detail="The volume is full.",
    needed_bytes=5_000_000,
    free_bytes=4096,
    since_ms=1_700_000_000_000,
)


@contextmanager
def refusing(error: int) -> Iterator[None]:
    """Make the gateway's writes for existing jobs fail with this error."""

    def refuse(path: Path, value: object) -> None:
        raise OSError(error, os.strerror(error))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steering, "write_json", refuse)
        patch.setattr(deletion, "write_json", refuse)
        yield


def intent(volume: Volume, job_id: str) -> str | None:
    path = volume.intent(job_id)
    return str(json.loads(path.read_bytes())["want"]) if path.exists() else None


def test_job_shows_what_it_waits_for_until_it_continues(
    client: httpx.Client, worker: Worker, new_job: Callable[[], str]
) -> None:
    job_id = new_job()
    lease = worker.claim()
    assert client.get(f"/jobs/{job_id}").json()["waiting_for"] is None
    worker.run(report(lease, 1, fields={"waiting_for": SHORTAGE.model_dump_json()}))
    assert client.get(f"/jobs/{job_id}").json()["waiting_for"] == {
        "code": "volume_full",
        "detail": "The volume is full.",
        "needed_bytes": 5_000_000,
        "free_bytes": 4096,
        "since": "2023-11-14T22:13:20Z",
    }
    worker.run(report(lease, 2, fields={"waiting_for": "null"}))
    assert client.get(f"/jobs/{job_id}").json()["waiting_for"] is None


def test_requeued_job_waits_for_nothing(
    client: httpx.Client, worker: Worker, new_job: Callable[[], str]
) -> None:
    job_id = new_job()
    lease = worker.claim()
    worker.run(report(lease, 1, fields={"waiting_for": SHORTAGE.model_dump_json()}))
    worker.run(leave(lease, State.QUEUED))
    assert client.get(f"/jobs/{job_id}").json()["waiting_for"] is None


def test_dataset_shows_what_it_waits_for(client: httpx.Client, worker: Worker, pictures: bytes) -> None:
    dataset_id = client.post("/datasets", content=pictures).json()["id"]
    lease = worker.claim(RecordKind.DATASET)
    worker.run(report(lease, 1, fields={"waiting_for": SHORTAGE.model_dump_json()}))
    assert client.get(f"/datasets/{dataset_id}").json()["waiting_for"]["code"] == "volume_full"
    worker.run(leave(lease, State.FAILED))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_running_job_can_be_cancelled_and_the_volume_is_updated_later(
    client: httpx.Client, worker: Worker, volume: Volume, new_job: Callable[[], str], error: int
) -> None:
    job_id = new_job()
    lease = worker.claim()
    with refusing(error):
        assert client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelling"
        assert intent(volume, job_id) is None
    until(lambda: intent(volume, job_id) == Want.CANCEL)
    worker.run(leave(lease, State.CANCELLED))


def test_last_of_several_intents_is_written_to_the_volume_later(
    client: httpx.Client, volume: Volume, new_job: Callable[[], str]
) -> None:
    job_id = new_job()
    with refusing(errno.ENOSPC):
        assert client.post(f"/jobs/{job_id}/pause").json()["state"] == "paused"
        assert client.post(f"/jobs/{job_id}/resume").json()["state"] == "queued"
        assert client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    until(lambda: intent(volume, job_id) == Want.CANCEL)


def test_job_can_be_deleted_from_a_full_volume_but_not_from_a_read_only_one(
    client: httpx.Client, volume: Volume, new_job: Callable[[], str]
) -> None:
    job_id = new_job()
    client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    with refusing(errno.EROFS):
        refused(client.delete(f"/jobs/{job_id}"), 507, "volume_read_only")
    with refusing(errno.ENOSPC):
        assert client.delete(f"/jobs/{job_id}").status_code == 204
    assert not volume.job(job_id).exists()
    refused(client.get(f"/jobs/{job_id}"), 410, "record_deleted")
