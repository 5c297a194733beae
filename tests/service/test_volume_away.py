"""While the volume is away, what needs only Redis goes on, and nothing is taken in or created."""

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.durable import sync_directory, write_durably
from contract.events import mirrored
from contract.forgetting import forget_job
from contract.identifiers import new_job_id
from contract.job import State, Want
from contract.keys import RecordKind
from contract.submitting import submit
from contract.volume import Volume
from service import deletion, queueing
from service.gateway import Gateway
from service.settings import Settings
from service.steering import steer
from service.trash import discard
from tests.service.deployment import Deployment
from tests.service.problems import refused
from tests.service.receiver import Receiver
from tests.service.waiting import until
from worker.mirror import Mirror
from worker.store import Store

JSON = {"accept": "application/json"}


@pytest.fixture
def there(impatient: None, elsewhere: Callable[..., Deployment]) -> Deployment:
    return elsewhere()


def unmount(volume: Volume) -> Callable[[], None]:
    """Leave the directory that it is mounted on; returns what mounts it again."""
    away = volume.root.rename(volume.root.with_name("away"))
    volume.root.mkdir()

    def mount() -> None:
        volume.root.rmdir()  # fails if something was created there
        away.rename(volume.root)

    return mount


@pytest.mark.parametrize("is_noticed", [False, True])
def test_nothing_is_taken_in_lost_or_created_while_the_volume_is_away(
    there: Deployment, pictures: bytes, is_noticed: bool
) -> None:
    client, worker = there.client, there.worker
    spec = {"dataset": there.dataset, "images": 1000}
    ended = there.end(State.SUCCEEDED)
    told = client.get(f"/jobs/{ended}/events", headers=JSON).json()["events"]
    worker.run(mirrored(RecordKind.JOB, ended, told[-1]["id"], 1))  # then the volume alone has the others
    job_id = client.post("/jobs", json=spec).json()["id"]
    mount = unmount(worker.volume)
    if is_noticed:
        assert "mount the volume" in until(lambda: there.missing().get("volume"))
    for answer in (
        client.post("/jobs", json=spec),
        client.post("/datasets", content=pictures),
        client.get(f"/jobs/{ended}/events", headers=JSON),
        client.get(f"/jobs/{ended}/previews"),
        client.get(f"/jobs/{ended}/previews/7.png"),
        client.get(f"/models/{ended}/export"),
        client.put("/models/live", json={"job": ended}),
        client.delete(f"/jobs/{ended}"),
        client.get("/jobs/job_0000000000000000"),
    ):
        refused(answer, 503, "volume_failing")
    assert client.post(f"/jobs/{job_id}/cancel").status_code == 202
    for path in ("/jobs", "/datasets", "/models", f"/jobs/{job_id}"):
        assert client.get(path).status_code == 200
    mount()
    until(lambda: not there.missing())
    until(worker.volume.intent(job_id).exists)
    assert json.loads(worker.volume.intent(job_id).read_bytes())["want"] == Want.CANCEL
    assert client.post("/jobs", json=spec).status_code == 202


@pytest.mark.parametrize(
    ("away", "back", "state"),
    [("cancel", None, "cancelled"), ("pause", None, "paused"), ("pause", "resume", "queued")],
)
def test_what_was_wanted_while_the_volume_was_away_is_not_forgotten_when_the_gateway_ends(
    there: Deployment, elsewhere: Callable[..., Deployment], away: str, back: str | None, state: str
) -> None:
    """A worker copies the event to the volume; what is wanted afterwards is newer."""
    job_id, worker = there.client.post("/jobs", json={"dataset": there.dataset}).json()["id"], there.worker
    mount = unmount(worker.volume)
    assert there.client.post(f"/jobs/{job_id}/{away}").status_code == 202
    there.stop()
    mount()
    Mirror(Store(worker.url), worker.volume).copy_events(RecordKind.JOB)
    there = elsewhere()
    if back:
        assert there.client.post(f"/jobs/{job_id}/{back}").status_code == 202
    worker.redis.flushdb()
    assert worker.rebuilder.rebuild_if_lost()
    assert there.client.get(f"/jobs/{job_id}").json()["state"] == state


@pytest.mark.parametrize("path", ["/jobs", "/datasets"])
def test_submission_that_may_not_last_is_removed_once_the_volume_is_back(
    there: Deployment, pictures: bytes, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    client, worker = there.client, there.worker
    homes = {"/jobs": worker.volume.jobs, "/datasets": worker.volume.datasets}[path]
    before, mounts = set(homes.iterdir()), list[Callable[[], None]]()

    def unmount_first(path: Path) -> None:
        mounts.append(unmount(worker.volume))
        sync_directory(path)

    monkeypatch.setattr(queueing, "sync_directory", unmount_first)
    asked = {"json": {"dataset": there.dataset}} if path == "/jobs" else {"content": pictures}
    refused(client.request("POST", path, **asked), 503, "volume_failing")
    away = worker.volume.root.with_name("away") / homes.name
    assert {home.name for home in away.iterdir()} > {home.name for home in before}
    mounts[0]()
    until(lambda: set(homes.iterdir()) == before)


def test_refused_submission_is_removed_once_the_volume_is_back(there: Deployment) -> None:
    volume, job_id = there.worker.volume, new_job_id()
    write_durably(volume.spec(job_id), b"{}")

    async def submit_on_no_dataset() -> None:
        gateway = Gateway(Settings(data_root=volume.root, redis_url=there.worker.url))
        mount = unmount(volume)
        async with gateway.running():
            outcome, _ = await queueing.submit(
                gateway, job_id, submit(RecordKind.JOB, job_id, "{}", dataset="ds_0000000000000000")
            )
            assert outcome == "unusable"
            mount()
            await asyncio.gather(*gateway.background.tasks)

    asyncio.run(submit_on_no_dataset())
    assert not volume.home(job_id).exists()


def test_what_is_asked_again_and_again_while_the_volume_is_away_is_settled_once(there: Deployment) -> None:
    volume, ended = there.worker.volume, there.end()
    job_id = there.client.post("/jobs", json={"dataset": there.dataset}).json()["id"]

    async def ask_often(gateway: Gateway, want: Want) -> None:
        before, mount = set(gateway.background.tasks), unmount(volume)
        while not gateway.watch.trouble:
            await asyncio.sleep(0.01)
        for _ in range(3):
            with pytest.raises(OSError, match="mount the volume"):
                async with queueing.new_home(gateway, new_job_id()):
                    pass
            with pytest.raises(OSError, match="mount the volume"):
                await deletion.delete(gateway, ended, forget_job(ended))
            await steer(gateway, job_id, want)
        (settling,) = gateway.background.tasks - before
        mount()
        await settling
        assert json.loads(volume.intent(job_id).read_bytes())["want"] == want

    async def ask_in_two_outages() -> None:
        gateway = Gateway(Settings(data_root=volume.root, redis_url=there.worker.url))
        async with asyncio.timeout(60), gateway.running():
            for want in (Want.PAUSE, Want.CANCEL):
                await ask_often(gateway, want)
                while gateway.watch.trouble:
                    await asyncio.sleep(0.01)

    asyncio.run(ask_in_two_outages())


@pytest.mark.parametrize(("error", "is_trouble"), [(errno.ENOSPC, False), (errno.EIO, True)])
def test_volume_that_cannot_be_written_is_missing_but_a_full_one_is_used(
    there: Deployment, error: int, *, is_trouble: bool
) -> None:
    def refuse(volume: Volume) -> None:
        raise OSError(error, os.strerror(error), str(volume.root))

    job_id = there.end(State.SUCCEEDED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("contract.volume_watch.write_probe", refuse)
        assert os.strerror(error) in until(lambda: there.missing().get("volume"))
        answer = there.client.get(f"/jobs/{job_id}/previews")
        assert answer.status_code == (503 if is_trouble else 200)
    until(lambda: not there.missing())


@pytest.mark.parametrize(
    ("is_heard", "status", "code"), [(True, 409, "job_in_use"), (False, 503, "store_unavailable")]
)
def test_refused_deletion_is_reverted_once_the_volume_is_back_before_a_rebuild_sees_it(
    there: Deployment,
    cut: Callable[[str, bool], None],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    status: int,
    *,
    is_heard: bool,
) -> None:
    client, worker = there.client, there.worker
    job_id = there.end(State.SUCCEEDED)
    client.put("/models/live", json={"job": job_id}).raise_for_status()
    bury, mounts = deletion._bury, list[Callable[[], None]]()

    async def bury_then_unmount(gateway: Gateway, record_id: str) -> None:
        await bury(gateway, record_id)
        mounts.append(unmount(worker.volume))

    monkeypatch.setattr(deletion, "_bury", bury_then_unmount)
    if not is_heard:
        cut("forget", False)
    refused(client.delete(f"/jobs/{job_id}"), status, code)
    worker.redis.flushdb()
    mounts[0]()
    until(lambda: not worker.volume.pending_tombstone(job_id).exists())
    assert worker.rebuilder.rebuild_if_lost()
    assert client.get(f"/jobs/{job_id}").status_code == 200


def test_files_of_a_deleted_job_are_removed_once_the_volume_is_back(
    there: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, volume = there.client, there.worker.volume
    job_id, mounts = there.end(), list[Callable[[], None]]()

    def unmount_first(volume: Volume, record_id: str) -> None:
        monkeypatch.undo()
        monkeypatch.setattr("service.settling.ROUND_SECONDS", 0.05)
        mounts.append(unmount(volume))
        discard(volume, record_id)

    monkeypatch.setattr(deletion, "discard", unmount_first)
    refused(client.delete(f"/jobs/{job_id}"), 503, "volume_failing")
    mounts[0]()
    until(lambda: not volume.home(job_id).exists())
    refused(client.get(f"/jobs/{job_id}"), 410, "record_deleted")


@pytest.mark.usefixtures("unhurried")
def test_delivery_for_which_the_volume_is_away_waits_for_its_lease(
    elsewhere: Callable[..., Deployment],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("contract.volume_watch.LOOK_SECONDS", 3600)  # nobody notices before the delivery
    there = elsewhere()
    receiver.answers = [500]
    job_id = there.end(webhook=receiver.webhook)
    until(lambda: there.webhook(job_id)["problem"])
    mount = unmount(there.worker.volume)
    there.age(job_id, 60)
    until(lambda: "told again when its lease has run out" in caplog.text)
    mount()
    assert there.webhook(job_id)["problem"] == "It answered 500."
    there.age(job_id, 60)
    until(lambda: there.webhook(job_id)["delivery"] == "delivered")
