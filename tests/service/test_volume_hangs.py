"""While the volume hangs, what needs only Redis goes on, and what hung is settled afterwards."""

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from contract.job import State, Want
from contract.volume import Volume
from service import aliases, deletion, queueing, receiving, steering, submitting
from service.on_volume import _THREADS
from service.routes import datasets
from tests.service.deployment import Deployment
from tests.service.hanging import hangs
from tests.service.problems import refused
from tests.service.waiting import until


@pytest.fixture
def there(impatient: None, elsewhere: Callable[..., Deployment]) -> Deployment:
    return elsewhere()


@contextmanager
def impatience() -> Iterator[pytest.MonkeyPatch]:
    """Gateways soon lose patience with a look at their volume. Only while it hangs: others are just slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("contract.volume_watch.PATIENCE_SECONDS", 0.2)
        patch.setattr("contract.volume_watch.WRITE_PATIENCE_SECONDS", 0.2)
        yield patch


@contextmanager
def reads_hang(volume: Volume) -> Iterator[None]:
    with hangs(volume.epoch), impatience():
        yield


@contextmanager
def writes_hang(_: Volume) -> Iterator[None]:
    """As on a frozen file system, of which the kernel still has in memory what it reads."""
    thaw = threading.Event()
    try:
        with impatience() as patch:
            patch.setattr("contract.volume_watch.write_probe", lambda _: thaw.wait())
            yield
    finally:
        thaw.set()


@pytest.mark.parametrize("hang", [reads_hang, writes_hang])
def test_what_needs_only_redis_is_answered_while_the_volume_hangs(
    there: Deployment, hang: Callable[[Volume], AbstractContextManager[None]]
) -> None:
    with hang(there.worker.volume):
        assert "has not answered for" in until(lambda: there.missing().get("volume"))
        for path in ("/jobs", "/datasets", "/models"):
            assert there.client.get(path).status_code == 200
        refused(there.client.post("/jobs", json={"dataset": there.dataset}), 503, "volume_failing")
    until(lambda: not there.missing())


def test_what_needs_only_redis_is_answered_while_one_file_keeps_all_threads(
    there: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.on_volume._BUSY_SECONDS", 0.3)
    client, volume = there.client, there.worker.volume
    ended, job_id = there.end(), client.post("/jobs", json={"dataset": there.dataset}).json()["id"]
    volume.previews(ended).mkdir()
    preview = volume.preview(ended, 7)
    os.mkfifo(preview)  # whoever reads it waits for a writer
    with ThreadPoolExecutor(_THREADS) as threads:
        reads = [threads.submit(client.get, f"/jobs/{ended}/previews/7.png") for _ in range(_THREADS)]
        assert "16 calls have not ended" in until(lambda: there.missing().get("volume"))
        assert client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"
        refused(client.get("/jobs/job_0000000000000000"), 503, "volume_failing")

        def have_been_let_go() -> bool:
            os.close(os.open(preview, os.O_RDWR | os.O_NONBLOCK))  # those that have opened it by now
            return all(read.done() for read in reads)

        until(have_been_let_go)
        assert {read.result().status_code for read in reads} == {200}
    until(lambda: not there.missing())
    until(volume.intent(job_id).exists)


@contextmanager
def hanging(there: Deployment, module: ModuleType, name: str) -> Iterator[None]:
    """The next call of this function hangs, with the volume, and ends later than the volume answers again."""
    back, has_ended = threading.Event(), threading.Event()
    touch = getattr(module, name)
    with ExitStack() as hang, pytest.MonkeyPatch.context() as patch:

        def hold(*given: Any, **named: Any) -> Any:
            patch.undo()
            hang.enter_context(reads_hang(there.worker.volume))
            back.wait()
            try:
                return touch(*given, **named)
            finally:
                has_ended.set()

        patch.setattr(module, name, hold)
        try:
            yield
            hang.close()
            until(lambda: "earlier calls have not ended" in there.missing().get("volume", ""))
            refused(there.client.get("/jobs/job_0000000000000000"), 503, "volume_failing")
        finally:
            back.set()
    assert has_ended.wait(60)


def test_job_is_paused_and_cancelled_while_the_volume_hangs_and_the_last_intent_stays(
    there: Deployment,
) -> None:
    job_id = there.client.post("/jobs", json={"dataset": there.dataset}).json()["id"]
    intent = there.worker.volume.intent(job_id)
    with hanging(there, steering, "_exchange"):
        assert there.client.post(f"/jobs/{job_id}/pause").json()["state"] == "paused"
        assert there.client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    until(lambda: json.loads(intent.read_bytes())["want"] == Want.CANCEL)


def test_alias_whose_move_hangs_is_refused_with_all_others_and_stays(there: Deployment) -> None:
    first, second = (there.end(State.SUCCEEDED) for _ in range(2))
    there.client.put("/models/live", json={"job": first}).raise_for_status()
    volume = there.worker.volume
    before = volume.alias("live").read_bytes()
    with hanging(there, aliases, "_keep"):
        refused(there.client.put("/models/live", json={"job": second}), 503, "volume_failing")
        refused(there.client.put("/models/other", json={"job": second}), 503, "volume_failing")
        directory = os.open(volume.aliases, os.O_RDONLY)
        with pytest.raises(BlockingIOError):  # no other gateway may move it before that has ended
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(directory)
    until(lambda: volume.alias("live").read_bytes() == before)
    assert there.client.get("/models/live").json()["job"] == first
    there.client.put("/models/other", json={"job": second}).raise_for_status()


@pytest.mark.parametrize(
    ("path", "module", "name"),
    [
        ("/jobs", submitting, "write_durably"),
        ("/jobs", queueing, "sync_directory"),
        ("/datasets", receiving, "_append"),
        ("/datasets", datasets, "_publish"),
    ],
)
def test_nothing_stays_of_a_submission_that_hung(
    there: Deployment, pictures: bytes, path: str, module: ModuleType, name: str
) -> None:
    volume = there.worker.volume
    body: Any = {"/jobs": {"json": {"dataset": there.dataset}}, "/datasets": {"content": pictures}}

    def kept() -> set[Path]:
        places = (volume.jobs, volume.datasets, volume.incoming_uploads, volume.trash)
        return {entry for place in places for entry in place.iterdir()}

    before = kept()
    with hanging(there, module, name):
        refused(there.client.post(path, **body[path]), 503, "volume_failing")
    until(lambda: kept() == before)


def test_tombstone_that_hung_is_removed_with_the_deletion_refused(there: Deployment) -> None:
    job_id = there.end()
    with hanging(there, deletion, "_raise_tombstone"):
        refused(there.client.delete(f"/jobs/{job_id}"), 503, "volume_failing")
    until(lambda: not there.worker.volume.pending_tombstone(job_id).exists())
    assert there.client.get(f"/jobs/{job_id}").status_code == 200
