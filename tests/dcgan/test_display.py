"""What a person at a terminal sees of a job."""

from collections.abc import Iterator
from io import StringIO
from typing import cast

from rich.console import Console

from dcgan.client import Client
from dcgan.display import follow
from dcgan.replies import Job

PROGRESS = {"images_seen": 640, "total": 6400, "images_per_second": 100.0, "seconds_left": 62.5}


def job(state: str, **more: object) -> Job:
    return Job.model_validate({"id": "job_1", "state": state, "progress": PROGRESS, **more})


class Story:
    """A client to whom a job shows itself as it was after each of its events."""

    def __init__(self, *jobs: Job) -> None:
        self._jobs = iter(jobs)

    def events(self, job_id: str, after: int) -> Iterator[None]:
        del job_id, after
        while True:
            yield None

    def job(self, job_id: str) -> Job:
        del job_id
        return next(self._jobs)


def test_job_that_waits_for_room_says_so_and_says_when_it_goes_on() -> None:
    needed = {"code": "volume_full", "detail": "The volume is full."}
    story = Story(job("running", waiting_for=needed), job("running"), job("succeeded"))
    screen = Console(file=StringIO(), width=200)
    follow(cast("Client", story), job("running"), screen)
    lines = cast("StringIO", screen.file).getvalue().splitlines()
    assert "100 images/s  1:02 left" in lines[2]
    assert ["waits: The volume is full." in line for line in lines] == [False, True, False, False]
