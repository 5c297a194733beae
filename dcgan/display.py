"""What the commands print. A job's progress is a bar; off a terminal, a line every ten seconds."""

import math
import time
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from contract.events import EventType
from contract.job import State
from dcgan.client import Client
from dcgan.errors import DcganError
from dcgan.events import Event
from dcgan.polling import polled
from dcgan.replies import DryRun, Job, JobProgress, MemoryEstimate, TimeEstimate

console = Console(highlight=False, markup=False)
LINE_EVERY_SECONDS = 10
BAR_COLUMNS = 11
"""Kept free for the bar, and for the space after it."""


def follow(client: Client, job: Job, console: Console) -> Job:
    """Show the job until it is final or paused, and return it."""
    can_draw = console.is_terminal and not console.is_dumb_terminal
    return _draw(client, job, console) if can_draw else _print_lines(client, job, console)


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header. Cells are never truncated: other commands take them as arguments."""
    table = [header, *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def plain(text: str) -> str:
    """Replace what would break the line, move the cursor, change colours or reverse the text direction."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_a_command(each) else each for each in text)


def _is_a_command(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or (
        unicodedata.bidirectional(character)
        in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    )


def show_estimate(dry_run: DryRun, console: Console) -> None:
    """Print what a job would take, then raise the error with which it would fail, if any."""
    spec, estimate = dry_run.spec, dry_run.estimate
    trainer = estimate.trainer
    lines = [
        ("job", f"{spec['images']:,} images at {spec['resolution']} px, batches of {spec['batch_size']}"),
        ("", f"evaluations: {estimate.evaluations.count}"),
        ("memory", _memory(estimate.memory)),
        ("time", _duration(estimate.time)),
        ("", estimate.time.detail),
        ("trainer", f"{trainer.name}, {trainer.device} ({trainer.device_model})"),
    ]
    for name, text in lines:
        console.print(f"{name:<8}", plain(text), soft_wrap=True, markup=False)
    if dry_run.stalled_reason:
        console.print("It would only wait.", plain(dry_run.stalled_reason), soft_wrap=True, markup=False)
    if estimate.error:
        raise DcganError(estimate.error.code, estimate.error.detail)


def _memory(memory: MemoryEstimate) -> str:
    needed = f"{memory.needed_bytes / 2**20:,.0f} MiB"
    if memory.available_bytes is None:
        return f"{needed}; what there is cannot be told while the trainer is training"
    return f"{needed} of {memory.available_bytes / 2**20:,.0f} MiB"


def _duration(estimate: TimeEstimate) -> str:
    if estimate.seconds is None:
        return "unknown"
    hours, rest = divmod(round(estimate.seconds), 3600)
    return f"about {hours}:{rest // 60:02d}:{rest % 60:02d} ({estimate.basis})"


def _draw(client: Client, job: Job, console: Console) -> Job:
    columns = (
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[status]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(job.state, total=job.progress.total, status=_status(job, console.width))
        for now, news in _watch(client, job):
            for line in news:
                console.print(line, markup=False)
            done, status = now.progress.images_seen, _status(now, console.width)
            progress.update(bar, description=now.state, completed=done, status=status)
    return now


def _status(job: Job, width: int) -> str:
    """What stands beside the bar on a console of this width."""
    room = width - len(f"{job.state:<10} {_counted(job)} ") - BAR_COLUMNS
    return f"{_counted(job)} {_rates(job, room)}".rstrip()


class _Line(NamedTuple):
    """What is printed of a job off a terminal."""

    text: str
    state: str
    is_waiting: bool

    def is_due_at_once(self, printed: "_Line") -> bool:
        """Whether more than its numbers has changed."""
        return (self.state, self.is_waiting) != (printed.state, printed.is_waiting)


def _print_lines(client: Client, job: Job, console: Console) -> Job:
    printed_at, printed = 0.0, _Line("", "", is_waiting=False)
    for now, news in _watch(client, job):
        for each in news:
            console.print(each, soft_wrap=True, markup=False)
        text = f"{now.state:<10} {_counted(now)} {_rates(now, math.inf)}".rstrip()
        line = _Line(text, now.state, now.waiting_for is not None)
        is_due = time.monotonic() - printed_at > LINE_EVERY_SECONDS
        if line.is_due_at_once(printed) or (is_due and line != printed):
            printed_at, printed = time.monotonic(), line
            console.print(line.text, soft_wrap=True, markup=False)
    return now


def _watch(client: Client, job: Job) -> Iterator[tuple[Job, list[str]]]:
    """Yield the job with its news: at once, after each of its events, and often while it is queued."""
    yield job, [*_news(None, job)]
    if _is_over(job):
        return
    before = job
    if job.state == State.QUEUED:
        for now in polled(lambda: client.job(job.id)):  # no event of its own says that the queue moves
            yield now, [*_news(before, now)]
            before = now
            if now.state != State.QUEUED:
                break
    for event in client.events(job.id, after=job.revision):
        now = next(polled(lambda: client.job(job.id)))
        yield now, [*_news(before, now, event)]
        if _is_over(now):
            return
        before = now


def _is_over(job: Job) -> bool:
    return job.is_final or job.state == State.PAUSED


def _news(before: Job | None, now: Job, event: Event | None = None) -> Iterator[str]:
    """What has just happened to a job, in lines."""
    waits = now.waiting_for
    if waits and not (before and before.waiting_for):
        yield f"waits: {plain(waits.detail)}"
    if now.stalled_reason and not (before and before.stalled_reason):
        yield f"stalled: {plain(now.stalled_reason)}"
    if event and event.type == EventType.WARNING:
        code, detail = (str(event.data.get(name, "")) for name in ("code", "detail"))
        if not (waits and waits.code == code):  # that is printed above, once
            yield f"warning: {plain(detail)} ({plain(code)})"


def _counted(job: Job) -> str:
    return f"{job.progress.images_seen:,}/{job.progress.total:,} images"


def _rates(job: Job, room: float) -> str:
    """How it goes, in `room` characters: losses are the first to be left out, the time left is the last."""
    progress = job.progress
    if job.waiting_for:
        return "waits"
    if job.state == State.QUEUED and job.queue_position:
        return f"number {job.queue_position:,} in the queue"
    if not progress.images_per_second:
        return ""
    left, rate = [*_left(progress)], [f"{progress.images_per_second:,.0f} images/s"]
    distance, counts, floor = [*_distance(job)], [*_counts(job)], [*_floor(job)]
    losses = [f"{name} {loss:.2f}" for name, loss in progress.losses.items() if "/" not in name]
    choices = (
        [*left, *rate, *distance, *counts, *floor, *losses],
        [*left, *rate, *distance, *counts, *floor],
        [*left, *rate, *distance, *floor],
        [*left, *distance, *floor],
        [*left, *distance],
    )
    fitting = (text for text in map("  ".join, choices) if len(text) <= room)
    return next(fitting, "".join(left))


def _left(progress: JobProgress) -> Iterator[str]:
    if progress.seconds_left is not None:
        seconds = round(progress.seconds_left)
        yield f"{seconds // 60}:{seconds % 60:02d} left"


def _distance(job: Job) -> Iterator[str]:
    if job.evaluation:
        yield f"{job.evaluation.frechet.name} {job.evaluation.frechet.value:.3g}"


def _counts(job: Job) -> Iterator[str]:
    """Of how many pictures the distance is: it can be compared only with one of as many."""
    if job.evaluation and job.evaluation.samples and job.evaluation.reals:
        yield f"({job.evaluation.samples:,} samples, {job.evaluation.reals:,} reals)"


def _floor(job: Job) -> Iterator[str]:
    if job.evaluation and job.is_final and job.evaluation.frechet.floor is not None:
        yield f"(real pictures: {job.evaluation.frechet.floor:.3g})"
