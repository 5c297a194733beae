"""A worker that starts waits for a volume that is away, but not for one that is new."""

import threading

import pytest
import redis

from contract.keys import EPOCH
from contract.volume import Volume
from worker.arrival import await_volume
from worker.store import Store


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.arrival.LOOK_SECONDS", 0.01)


@pytest.fixture
def mount_point(volume: Volume) -> Volume:
    """A volume that is not there."""
    return Volume(volume.root / "mount point")


def test_worker_waits_for_a_volume_that_redis_has_records_of(
    store: Store,
    client: redis.Redis,
    mount_point: Volume,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    looks, has_epoch = threading.Semaphore(0), Store.has_epoch

    def look(store: Store) -> bool:
        looks.release()
        return has_epoch(store)

    monkeypatch.setattr(Store, "has_epoch", look)
    client.set(EPOCH, "1")
    waiting = threading.Thread(target=await_volume, args=(store, mount_point), daemon=True)
    waiting.start()
    for _ in range(3):
        assert looks.acquire(timeout=60)
    assert not mount_point.root.exists()
    assert caplog.text.count("mount the volume there") == 1
    mount_point.root.mkdir()
    mount_point.epoch.touch()
    waiting.join(60)
    assert mount_point.jobs.is_dir()


def test_worker_of_a_new_service_does_not_wait_and_leaves_the_layout_to_the_rebuild(
    store: Store, mount_point: Volume
) -> None:
    await_volume(store, mount_point)
    assert not mount_point.root.exists()


def test_worker_waits_for_a_volume_that_cannot_be_looked_at(
    store: Store, mount_point: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    mount_point.root.symlink_to("longer than any name may be" * 10)
    waiting = threading.Thread(target=await_volume, args=(store, mount_point), daemon=True)
    waiting.start()
    while "cannot be used" not in caplog.text:
        waiting.join(0.01)
        assert waiting.is_alive()
    mount_point.root.unlink()
    waiting.join(60)
    assert not waiting.is_alive()
