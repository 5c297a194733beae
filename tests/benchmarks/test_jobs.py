"""The jobs that benchmarks order: each is trained to its end, also in a directory that was used before."""

import zipfile
from pathlib import Path

import pytest

from benchmarks.jobs.ground import Ground
from tests.worker.training_child import TINY, carry_out, grey_squares
from worker import link


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index, picture in enumerate(grey_squares()):
            archive.writestr(f"{index}.png", picture)
    return Ground.lay(tmp_path / "volume", path, "cpu", threads=1)


def test_ordered_job_is_trained_to_its_end_every_time(ground: Ground) -> None:
    spec = ground.spec({"images": 32, "batch_size": 4, "architecture": TINY})
    for _ in range(2):
        said = carry_out(ground.order(spec))
        assert isinstance(said[-1], link.Finished)
        assert not [message for message in said if isinstance(message, link.Waiting)]
        assert [message.checkpoint.images_seen for message in said if isinstance(message, link.Published)]
