"""What is deleted leaves its place in one step, whoever writes there meanwhile."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from contract.identifiers import new_job_id
from contract.volume import Volume
from service.settings import Settings
from service.trash import discard, trash


def test_nobody_re_creates_what_is_being_discarded(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
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
    assert not [*trash(volume).iterdir()]


def mirror_until_gone(path: Path) -> None:
    """As a worker does: append to the log, which is created if it is not there."""
    while path.parent.is_dir():
        try:
            path.open("a+b").close()
        except FileNotFoundError:
            return


def test_what_is_not_there_is_discarded_silently(tmp_path: Path) -> None:
    discard(Volume(tmp_path), new_job_id())


def test_what_a_killed_gateway_left_in_the_trash_is_swept_away(
    serve: Callable[[Settings], AbstractContextManager[str]], redis_url: str, tmp_path: Path
) -> None:
    half = trash(Volume(tmp_path)) / "half-removed"
    half.mkdir(parents=True)
    (half / "checkpoint.safetensors").touch()
    with serve(Settings(data_root=tmp_path, redis_url=redis_url)):
        assert not half.exists()
