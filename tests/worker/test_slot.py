"""A worker takes the first free slot of its host, on a volume that is read-only too, or waits for one."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.keys import Role
from worker.slot import Slot


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.slot.LOOK_SECONDS", 0.01)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path / "mounted"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount program here")
    if subprocess.run(["mount", "-t", "tmpfs", "dcgan-test", place], check=False).returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield place
    subprocess.run(["umount", place], check=True)


def remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", place], check=True)


def taken_once(allow: Callable[[], object], run: Path, log: pytest.LogCaptureFixture) -> str:
    """The name of a slot that is refused until it is allowed."""
    names: list[str] = []

    def take() -> None:
        with Slot(Role.SAMPLE, run) as slot:
            names.append(slot.name)

    waiting = threading.Thread(target=take, daemon=True)
    waiting.start()
    while "waits for the volume" not in log.text:
        waiting.join(0.01)
        assert waiting.is_alive()
    assert not names
    allow()
    waiting.join(60)
    (name,) = names
    return name


def test_slots_of_a_host_are_numbered_and_taken_again(tmp_path: Path) -> None:
    with Slot(Role.SAMPLE, tmp_path) as first, Slot(Role.SAMPLE, tmp_path) as second:
        assert (first.name[-2:], second.name[-2:]) == ("-0", "-1")
        assert first.directory.is_dir()
        assert second.directory.is_dir()
    with Slot(Role.SAMPLE, tmp_path) as again:
        assert again.name == first.name


def test_worker_waits_until_the_volume_lets_it_take_a_slot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    run.touch()
    assert taken_once(run.unlink, run, caplog).endswith("-0")


def test_slot_is_taken_again_on_a_read_only_volume_and_a_new_one_waits(
    mounted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Slot(Role.SAMPLE, mounted) as before:
        pass
    remount(mounted, "ro")
    with Slot(Role.SAMPLE, mounted) as again:
        assert again.name == before.name
        assert again.directory.is_dir()
        assert taken_once(lambda: remount(mounted, "rw"), mounted, caplog).endswith("-1")
