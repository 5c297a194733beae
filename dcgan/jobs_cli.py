"""The commands that train, and that show and control jobs."""

import json
import re
from typing import Any

import click
from click.core import ParameterSource

from contract.identifiers import DATASET_PATTERN
from contract.job import State
from contract.presets import PRESETS
from contract.submission import Priority
from dcgan.client import Client
from dcgan.display import console, follow, show_estimate, show_table
from dcgan.errors import DcganError
from dcgan.interruption import on_ctrl_c
from dcgan.replies import Checkpoint, Job

MAYBE_SUBMITTED = "The job may have been submitted; if it was, `dcgan jobs` shows it."
"""Said if its id has not arrived."""


@click.command()
@click.argument("dataset")
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), help="Defaults for everything not given.  [default: fast]"
)
@click.option("--name", help="Display name.")
@click.option("--images", type=int, help="Total number of real images to train on.")
@click.option("--resolution", type=int, help="Width and height in pixels.")
@click.option("--seed", type=int, help="Seed of everything random in the run.")
@click.option(
    "--priority",
    type=click.Choice([each.value for each in Priority]),
    help="Priority in the queue.  [default: normal]",
)
@click.option(
    "--submitter",
    envvar="DCGAN_SUBMITTER",
    show_envvar=True,
    help="Name of the submitter; submitters take turns.",
)
@click.option("--set", "others", multiple=True, metavar="FIELD=JSON", help="Any other field of POST /jobs.")
@click.option("--detach", is_flag=True, help="Print the job's id and exit at once.")
@click.option("--dry-run", is_flag=True, help="Estimate time and memory without training.")
@click.pass_context
def train(
    context: click.Context,
    /,
    dataset: str,
    others: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    **chosen: object,
) -> None:
    """Train on a dataset. Ctrl-C leaves the job running: `dcgan watch` shows it again.

    The exit code is 0 if the job succeeded, 130 after Ctrl-C, otherwise 1.
    """
    request: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    given = {name for name in chosen if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    for name, value in map(_field, others):
        if name in given:
            raise _unsettable(f"{name} is given twice.")
        given.add(name)
        request[name] = value
    with Client(context.obj) as client:
        if dry_run:
            show_estimate(client.estimate(dataset=dataset, **request), console)
            return
        with on_ctrl_c(MAYBE_SUBMITTED):
            job = client.create_job(dataset=dataset, **request)
        click.echo(job.id)
        if detach:
            return
        _follow_to_success(client, job)


def _follow_to_success(client: Client, job: Job) -> None:
    try:
        job = follow(client, job, console)
    except KeyboardInterrupt:
        hint = f"The job goes on; `dcgan watch {job.id}` shows it again, `dcgan cancel {job.id}` ends it."
        console.print(hint, soft_wrap=True)
        raise
    if job.state == State.SUCCEEDED:
        if job.checkpoint:
            console.print(_served(job.id, job.checkpoint), soft_wrap=True)
        return
    if job.state == State.PAUSED:
        raise click.ClickException(f"{job.id} is paused; `dcgan resume {job.id}` queues it again.")
    if job.error:
        raise DcganError(job.error.code, job.error.detail)
    raise click.ClickException(f"{job.id} ended as {job.state}; `dcgan retry {job.id}` trains it again.")


def _served(job_id: str, checkpoint: Checkpoint) -> str:
    """Which checkpoint a job that has ended serves: its best, which may be another than the last."""
    distances = [
        f"{name} {checkpoint.metrics[name]:.3g}" for name in ("fd", "fid") if name in checkpoint.metrics
    ]
    figures = "".join(f", {distance}" for distance in distances)
    return f"serves its best, of {checkpoint.images_seen:,} images{figures}: `dcgan samples --model {job_id}`"


def _field(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise _unsettable(f"{text!r} is not FIELD=JSON, such as batch_size=32.")
    if name == "dataset":
        raise _unsettable("the dataset is an argument of its own, as in `dcgan train ds_…`.")
    if name == "idempotency_key":
        raise _unsettable("idempotency_key is no field of a job; this command chooses one itself.")
    try:
        meant = json.loads(value)
        json.dumps(meant, allow_nan=False)
    except (ValueError, RecursionError):
        return name, value  # a bare word is a string
    return name, meant


def _unsettable(why: str) -> click.BadParameter:
    return click.BadParameter(why, param_hint="--set")


@click.command()
@click.option("--state", help="Only jobs in this state; `running` includes pausing and cancelling.")
@click.pass_obj
def jobs(url: str, state: str | None) -> None:
    """List the jobs, newest first."""
    with Client(url) as client:
        show_table(
            ("job", "state", "images", "name"),
            [
                (
                    job.id,
                    job.state,
                    f"{job.progress.images_seen:,}/{job.progress.total:,}",
                    job.name or "",
                )
                for job in client.jobs(state)
            ],
        )


@click.command()
@click.argument("job")
@click.pass_obj
def watch(url: str, job: str) -> None:
    """Show a job until it ends, like `dcgan train`, with the same exit codes."""
    with Client(url) as client:
        _follow_to_success(client, client.job(job))


@click.command()
@click.argument("job")
@click.pass_obj
def cancel(url: str, job: str) -> None:
    """Cancel a job; its checkpoints are kept."""
    with Client(url) as client:
        click.echo(client.cancel(job).state)


@click.command()
@click.argument("job")
@click.pass_obj
def pause(url: str, job: str) -> None:
    """Save a job and free its worker."""
    with Client(url) as client:
        click.echo(client.pause(job).state)


@click.command()
@click.argument("job")
@click.pass_obj
def resume(url: str, job: str) -> None:
    """Queue a paused job again."""
    with Client(url) as client:
        click.echo(client.resume(job).state)


@click.command()
@click.argument("job")
@click.pass_obj
def retry(url: str, job: str) -> None:
    """Train a failed or cancelled job again as a new job, and print its id."""
    with Client(url) as client:
        with on_ctrl_c(MAYBE_SUBMITTED):
            made = client.retry(job)
        click.echo(made.id)


@click.command()
@click.argument("record", metavar="JOB|DATASET")
@click.pass_obj
def delete(url: str, record: str) -> None:
    """Delete a job that has ended, with all it made, or a dataset that no live job uses."""
    with Client(url) as client:
        if re.fullmatch(DATASET_PATTERN, record):
            client.delete_dataset(record)
        else:
            client.delete_job(record)


COMMANDS = (train, watch, jobs, cancel, pause, resume, retry, delete)
