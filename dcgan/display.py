"""What the commands print. A job's progress is a bar; off a terminal, a line every ten seconds."""

import time
import unicodedata
from collections.abc import Iterator, Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from dcgan.client import Client
from dcgan.errors import DcganError
from dcgan.replies import DryRun, Job, MemoryEstimate, TimeEstimate

LINE_EVERY_SECONDS = 10


def follow(client: Client, job: Job, console: Console) -> Job:
    """Show the job until it is final or paused, and return it."""
    can_draw = console.is_terminal and not console.is_dumb_terminal
    return _draw(client, job, console) if can_draw else _tell(client, job, console)


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


def show_estimate(told: DryRun, console: Console) -> None:
    """Print what a job would take, then raise the error with which it would fail, if any."""
    spec, estimate = told.spec, told.estimate
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
    if told.stalled_reason:
        console.print("It would only wait.", plain(told.stalled_reason), soft_wrap=True, markup=False)
    if estimate.error:
        raise DcganError(estimate.error.code, estimate.error.detail)


def _memory(memory: MemoryEstimate) -> str:
    needed = f"{memory.needed_bytes / 2**20:,.0f} MiB"
    if memory.available_bytes is None:
        return f"{needed}; what there is cannot be told while the trainer is training"
    return f"{needed} of {memory.available_bytes / 2**20:,.0f} MiB"


def _duration(told: TimeEstimate) -> str:
    if told.seconds is None:
        return "unknown"
    hours, rest = divmod(round(told.seconds), 3600)
    return f"about {hours}:{rest // 60:02d}:{rest % 60:02d} ({told.basis})"


def _draw(client: Client, job: Job, console: Console) -> Job:
    columns = (
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} images"),
        TextColumn("{task.fields[rates]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(job.state, total=job.progress.total, rates="")
        for now in _watch(client, job):
            progress.update(bar, description=now.state, completed=now.progress.images_seen, rates=_rates(now))
    return now


def _tell(client: Client, job: Job, console: Console) -> Job:
    told_at, told = 0.0, ("", False)
    for now in _watch(client, job):
        news = (now.state, now.waiting_for is not None)
        if news != told or time.monotonic() - told_at > LINE_EVERY_SECONDS:
            told_at, told = time.monotonic(), news
            counted = f"{now.progress.images_seen:,}/{now.progress.total:,} images"
            console.print(f"{now.state:<10}", counted, _rates(now), soft_wrap=True, markup=False)
    return now


def _watch(client: Client, job: Job) -> Iterator[Job]:
    """Yield the job, and again after each of its events."""
    yield job
    if job.is_final or job.state == "paused":
        return
    for _ in client.events(job.id, after=job.revision):
        job = client.job(job.id)
        yield job
        if job.is_final or job.state == "paused":
            return


def _rates(job: Job) -> str:
    progress = job.progress
    if job.waiting_for:
        return f"waits: {plain(job.waiting_for.detail)}"
    if not progress.images_per_second:
        return ""
    losses = (f"{name} {loss:.2f}" for name, loss in progress.losses.items() if "/" not in name)
    seconds = round(progress.seconds_left or 0)
    left = () if progress.seconds_left is None else (f"{seconds // 60}:{seconds % 60:02d} left",)
    return "  ".join((f"{progress.images_per_second:,.0f} images/s", *losses, *_judged(job), *left))


def _judged(job: Job) -> Iterator[str]:
    if job.evaluation:
        distance = job.evaluation.frechet
        is_told = job.is_final and distance.floor is not None
        floor = f" (real pictures: {distance.floor:.3g})" if is_told else ""
        yield f"{distance.name} {distance.value:.3g}{floor}"
