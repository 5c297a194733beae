"""The watch of the volume goes on, whatever happens in a look."""

import errno
import os
import threading

import pytest

from contract.volume import Volume
from contract.volume_watch import VolumeWatch


@pytest.mark.parametrize(
    "error", [errno.EIO, errno.ESTALE, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH]
)
def test_volume_whose_server_is_down_is_in_trouble(
    error: int, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Volume) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("contract.volume_watch.write_probe", refuse)
    watch = VolumeWatch(volume)
    watch.look()
    assert watch.trouble
    assert os.strerror(error) in watch.trouble


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
