"""The watch of the volume goes on, whatever happens in a look."""

import threading

import pytest

from contract.volume import Volume
from contract.volume_watch import VolumeWatch


def test_watch_goes_on_after_a_look_that_fails_by_our_mistake(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("contract.volume_watch.LOOK_SECONDS", 0.01)
    looks = threading.Semaphore(0)

    class Mistaken(Volume):
        def require(self) -> None:
            looks.release()
            raise MemoryError

    watch = VolumeWatch(Mistaken(volume.root))
    watch.start()
    assert all(looks.acquire(timeout=60) for _ in range(3))
    watch.stop()
    assert watch.trouble is None
    assert "MemoryError" in caplog.text
