"""Deleted directories are moved away atomically, even while something writes to them."""

import threading
from pathlib import Path

import pytest

from contract.identifiers import new_job_id
from contract.volume import Volume
from service.settings import Settings
from service.trash import discard
from tests.service.serving import serve
from tests.service.waiting import until


def test_writer_does_not_recreate_a_directory_that_is_being_discarded(volume: Volume) -> None:
    for _ in range(20):
        job_id = new_job_id()
        volume.previews(job_id).mkdir(parents=True)
        for number in range(200):
            volume.preview(job_id, number).touch()
        mirroring = threading.Thread(target=mirror_until_gone, args=(volume.events(job_id),))
        mirroring.start()
        discard(volume, job_id)
        mirroring.join()
        assert not volume.home(job_id).exists()
    assert not [*volume.trash.iterdir()]


def mirror_until_gone(path: Path) -> None:
    """Append to the log like a worker, which creates it if it is missing."""
    while path.parent.is_dir():
        try:
            path.open("a+b").close()
        except FileNotFoundError:
            return


def test_discarding_a_missing_directory_is_silent(volume: Volume) -> None:
    discard(volume, new_job_id())


def test_directory_that_cannot_be_removed_is_an_error(tmp_path: Path) -> None:
    volume, job_id = Volume(tmp_path), new_job_id()
    volume.jobs.mkdir()
    volume.trash.touch()
    volume.home(job_id).symlink_to(tmp_path)  # `rmtree` follows none
    with pytest.raises(NotADirectoryError):
        discard(volume, job_id)


def test_trash_of_a_killed_gateway_is_swept_at_start(redis_url: str, volume: Volume) -> None:
    half = volume.trash / "half-removed"
    half.mkdir()
    (half / "checkpoint.safetensors").touch()
    with serve(Settings(data_root=volume.root, redis_url=redis_url)):
        until(lambda: not half.exists())
