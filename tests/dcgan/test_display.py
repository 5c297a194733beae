"""How jobs are displayed in a terminal."""

import re
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import cast

import pytest
from rich.console import Console

from dcgan.client import Client
from dcgan.display import follow, show_table
from dcgan.events import Event
from dcgan.replies import Job

PROGRESS = {"images_seen": 640, "total": 6400, "images_per_second": 100.0, "seconds_left": 62.5}


def job(state: str, **more: object) -> Job:
    return Job.model_validate({"id": "job_1", "state": state, "progress": PROGRESS} | more)


class Story:
    """A fake client that returns a job's next state after each event."""

    def __init__(self, *jobs: Job, events: Sequence[Event] = ()) -> None:
        self._jobs = iter(jobs)
        self._events = events
        self.state = ""

    def events(self, job_id: str, after: int) -> Iterator[Event]:
        del job_id, after
        assert self.state != "queued", "no event says that the queue moves"
        yield from self._events
        while True:
            yield Event(9, "progress", {})

    def job(self, job_id: str) -> Job:
        del job_id
        seen = next(self._jobs)
        self.state = seen.state
        return seen


def shown(story: Story, first: Job, width: int = 200, terminal: bool = False) -> list[str]:
    """The lines of a console; on a terminal, every state of the progress line is one of them."""
    screen = Console(
        file=StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False, _environ={}
    )
    follow(cast("Client", story), first, screen)
    return re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", cast("StringIO", screen.file).getvalue()))


def test_job_is_shown_as_waiting_for_disk_space_until_it_continues() -> None:
    needed = {"code": "volume_full", "detail": "The volume is full."}
    waiting = job("running", waiting_for=needed)
    warning = Event(2, "warning", {"code": "volume_full", "detail": "The volume is full."})
    story = Story(waiting, waiting, job("running"), job("succeeded"), events=[warning])
    lines = shown(story, job("running"))
    assert "1:02 left  100 images/s" in lines[3]
    assert ["waits: The volume is full." in line for line in lines[:5]] == [False, True, False, False, False]
    assert not any("warning" in line for line in lines)


def test_final_distance_is_shown_beside_that_of_real_pictures() -> None:
    frechet = {"name": "fd", "value": 1.734, "floor": 1.3067}
    judged = {"images_seen": 640, "samples": 1024, "reals": 241, "frechet": frechet}
    before, after, _ = shown(Story(job("succeeded", evaluation=judged)), job("running", evaluation=judged))
    assert before.endswith("fd 1.73  (1,024 samples, 241 reals)")
    assert "fd 1.73  (1,024 samples, 241 reals)  (real pictures: 1.31)" in after


COUNTS = "(1,024 samples, 241 reals)"


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (60, ["12:34 left"]),
        (80, ["12:34 left", "1,234 images/s", "fd 1.73"]),
        (100, ["12:34 left", "1,234 images/s", "fd 1.73"]),
        (120, ["12:34 left", "1,234 images/s", "fd 1.73", COUNTS]),
        (160, ["12:34 left", "1,234 images/s", "fd 1.73", COUNTS, "generator 0.91", "discriminator 0.58"]),
    ],
)
def test_progress_line_tells_what_fits_the_terminal(width: int, told: list[str]) -> None:
    progress = {
        "images_seen": 62_400,
        "total": 120_000,
        "images_per_second": 1234.2,
        "seconds_left": 754.0,
        "losses": {"generator": 0.9123, "discriminator": 0.5832},
    }
    judged = {"images_seen": 640, "samples": 1024, "reals": 241, "frechet": {"name": "fd", "value": 1.734}}
    now = job("paused", progress=progress, evaluation=judged)
    last = [line for line in shown(Story(), now, width, terminal=True) if line][-1]
    parts = re.fullmatch(r"(\w+) +(\S+) +([\d,/]+ images .*)", last.rstrip())
    assert parts is not None
    state, bar, counted = parts.groups()
    assert (state, counted) == ("paused", "62,400/120,000 images " + "  ".join(told))
    assert len(bar) >= 4
    assert len(last) <= width


@pytest.mark.parametrize("terminal", [False, True])
def test_warnings_are_shown_once_as_they_come(terminal: bool) -> None:
    data = {"code": "mode_collapse_suspected", "detail": "The best samples are 8% as\x1bvaried."}
    events = [Event(2, "progress", {}), Event(3, "warning", data)]
    lines = shown(
        Story(job("running"), job("running"), job("succeeded"), events=events),
        job("running"),
        terminal=terminal,
    )
    warning = "warning: The best samples are 8% as\ufffdvaried. (mode_collapse_suspected)"
    assert [line for line in lines if "warning" in line] == [warning]


@pytest.mark.parametrize("terminal", [False, True])
def test_queued_job_shows_its_place_and_why_it_only_waits(terminal: bool) -> None:
    story = Story(
        job("queued", queue_position=2),
        job("queued", queue_position=1, stalled_reason="It needs 2 devices."),
        job("queued", queue_position=1, stalled_reason="It needs 2 devices."),
        job("running"),
        job("succeeded"),
    )
    story.state = "queued"
    lines = shown(story, job("queued", queue_position=3), terminal=terminal)
    assert [line for line in lines if "stalled" in line] == ["stalled: It needs 2 devices."]
    assert any("number 3 in the queue" in line for line in lines)


@pytest.mark.parametrize("terminal", [False, True])
def test_markup_and_control_characters_are_shown_but_not_interpreted(terminal: bool) -> None:
    needed = {"code": "volume_full", "detail": "[red]Full[/red] \x1b[2J\rof it [/]."}
    story = Story(job("paused", waiting_for=needed))
    screen = Console(file=StringIO(), width=200, force_terminal=terminal, color_system=None, _environ={})
    follow(cast("Client", story), job("running"), screen)
    told = cast("StringIO", screen.file).getvalue()
    assert "waits: [red]Full[/red] \ufffd[2J\ufffdof it [/]." in told


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
