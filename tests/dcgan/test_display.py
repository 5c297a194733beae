"""How jobs are displayed in a terminal."""

from collections.abc import Iterator
from io import StringIO
from typing import cast

import pytest
from rich.console import Console

from dcgan.client import Client
from dcgan.display import follow, show_table
from dcgan.replies import Job

PROGRESS = {"images_seen": 640, "total": 6400, "images_per_second": 100.0, "seconds_left": 62.5}


def job(state: str, **more: object) -> Job:
    return Job.model_validate({"id": "job_1", "state": state, "progress": PROGRESS, **more})


class Story:
    """A fake client that returns a job's next state after each event."""

    def __init__(self, *jobs: Job) -> None:
        self._jobs = iter(jobs)

    def events(self, job_id: str, after: int) -> Iterator[None]:
        del job_id, after
        while True:
            yield None

    def job(self, job_id: str) -> Job:
        del job_id
        return next(self._jobs)


def test_job_is_shown_as_waiting_for_disk_space_until_it_continues() -> None:
    needed = {"code": "volume_full", "detail": "The volume is full."}
    story = Story(job("running", waiting_for=needed), job("running"), job("succeeded"))
    screen = Console(file=StringIO(), width=200)
    follow(cast("Client", story), job("running"), screen)
    lines = cast("StringIO", screen.file).getvalue().splitlines()
    assert "100 images/s  1:02 left" in lines[2]
    assert ["waits: The volume is full." in line for line in lines] == [False, True, False, False]


def test_final_distance_is_shown_beside_that_of_real_pictures() -> None:
    judged = {"images_seen": 640, "frechet": {"name": "fd", "value": 1.734, "floor": 1.3067}}
    story = Story(job("succeeded", evaluation=judged))
    screen = Console(file=StringIO(), width=200)
    follow(cast("Client", story), job("running", evaluation=judged), screen)
    before, after = cast("StringIO", screen.file).getvalue().splitlines()
    assert "fd 1.73  1:02" in before
    assert "fd 1.73 (real pictures: 1.31)" in after


@pytest.mark.parametrize("terminal", [False, True])
def test_markup_and_control_characters_are_shown_but_not_interpreted(terminal: bool) -> None:
    needed = {"code": "volume_full", "detail": "[red]Full[/red] \x1b[2J\rof it [/]."}
    story = Story(job("paused", waiting_for=needed))
    screen = Console(file=StringIO(), width=200, force_terminal=terminal, color_system=None, _environ={})
    follow(cast("Client", story), job("running"), screen)
    shown = cast("StringIO", screen.file).getvalue()
    assert "waits: [red]Full[/red] \ufffd[2J\ufffdof it [/]." in shown


def test_name_stays_in_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("job", "name"), [("job_1", "a\nb\x1b[31m\u202ec\u2028"), ("job_2", "名\u3000前 👩\u200d🚀")])
    assert capsys.readouterr().out.splitlines() == [
        "job    name",
        "job_1  a\ufffdb\ufffd[31m\ufffdc\ufffd",
        "job_2  名\u3000前 👩\u200d🚀",
    ]


def test_dumb_terminal_gets_one_line_per_update() -> None:
    screen = Console(file=StringIO(), width=200, force_terminal=True, _environ={"TERM": "dumb"})
    follow(cast("Client", Story(job("running"), job("succeeded"))), job("queued"), screen)
    lines = cast("StringIO", screen.file).getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["queued", "running", "succeeded"]
