"""The command `dcgan`: runs the service's processes, and is a client of a running service."""

import errno
import io
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from contract.job import State
from contract.presets import PRESETS
from contract.submission import Priority
from dcgan import demo as demonstration
from dcgan.client import Client
from dcgan.datasets_cli import datasets, upload
from dcgan.display import follow, plain, show_estimate, show_table
from dcgan.errors import DcganError
from dcgan.files import naming
from dcgan.interruption import on_ctrl_c
from dcgan.models_cli import models
from dcgan.replies import Job
from dcgan.samples_cli import samples

console = Console(highlight=False, markup=False)

MAYBE_SUBMITTED = "The job may have been submitted; if it was, `dcgan jobs` shows it."
"""Said if its id has not arrived."""


class PoliteGroup(click.Group):
    """Reports refusals and I/O errors as a sentence instead of a traceback, and Ctrl-C as exit code 130."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        _refuse_output_without_stdout()
        with _refusals_as_sentences():  # --help and --version write to stdout while options are parsed
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> object:
        try:
            with _refusals_as_sentences():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None


def _refuse_output_without_stdout() -> None:
    """Without stdout (`>&-`), have what writes to it fail: Python and click would discard it silently."""
    if sys.stdout is None:
        reading, writing = os.pipe()
        os.close(writing)
        sys.stdout = io.TextIOWrapper(io.FileIO(reading, "w"), write_through=True)


@contextmanager
def _refusals_as_sentences() -> Iterator[None]:
    try:
        yield
    except DcganError as error:
        told = "\n".join(map(plain, error.detail.split("\n")))
        raise click.ClickException(f"{told} ({error.code})") from error
    except OSError as error:
        if error.errno in {None, errno.EPIPE}:  # click handles a broken pipe itself
            raise
        if error.filename is not None:
            raise click.ClickException(f"{error.filename}: {error.strerror}") from error
        if not _is_from_output(error):
            raise click.ClickException(str(error.strerror)) from error
        _let_go_of_output()
        raise click.ClickException(f"The output cannot be written: {error.strerror}") from error


def _is_from_output(error: OSError) -> bool:
    """Whether it arose where click or rich writes to stdout; Python's own functions have no frames."""
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    return innermost.f_globals["__name__"].partition(".")[0] in {"click", "rich"}


def _let_go_of_output() -> None:
    """Point stdout at /dev/null, else the flush at interpreter exit fails again, with a traceback."""
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@click.group(cls=PoliteGroup, context_settings={"show_default": True})
@click.option(
    "--url",
    default="http://127.0.0.1:8000",
    envvar="DCGAN_URL",
    show_envvar=True,
    help="Base URL of the service.",
)
@click.version_option(package_name="dcgan")
@click.pass_context
def main(context: click.Context, url: str) -> None:
    """Train DCGAN-family generators and fetch pictures by seed."""
    context.obj = url
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # this terminal may be unable to encode a name


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: 8000]")
@click.option("--data-root", type=click.Path(path_type=Path), help="Directory for all data.  [default: data]")
@click.option(
    "--trainers", type=click.IntRange(min=0), help="Number of jobs trained at the same time.  [default: 1]"
)
@click.option("--samplers", type=click.IntRange(min=0), help="Number of sampler processes.  [default: 1]")
def up(
    host: str | None, port: int | None, data_root: Path | None, trainers: int | None, samplers: int | None
) -> None:
    """Run the whole service until Ctrl-C: Redis, gateway and workers.

    Options default to the environment (DCGAN_HOST, DCGAN_PORT, DCGAN_DATA_ROOT). The line
    `ready http://HOST:PORT` means that it can train and sample. Requests under host names other than
    localhost and --host are refused, unless DCGAN_ALLOWED_HOSTS lists them.
    """
    given = {"host": host, "port": port, "data-root": data_root, "trainers": trainers, "samplers": samplers}
    _become("service.launcher", given)


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: 8000]")
def gateway(host: str | None, port: int | None) -> None:
    """Run one gateway. It uses the Redis and the volume of DCGAN_REDIS_URL and DCGAN_DATA_ROOT."""
    _become("service", {"host": host, "port": port})


@main.command()
@click.option(
    "--role", type=click.Choice(["train", "prepare", "sample"]), required=True, help="Kind of work."
)
def worker(role: str) -> None:
    """Run one worker. It uses the Redis and the volume of DCGAN_REDIS_URL and DCGAN_DATA_ROOT."""
    _become("worker", {"role": role})


def _become(module: str, given: Mapping[str, object]) -> None:
    """Replace this process with that program. -P: packages in the current directory must not shadow ours."""
    chosen = [f"--{name}={value}" for name, value in given.items() if value is not None]
    with naming(sys.executable):
        os.execv(sys.executable, [sys.executable, "-P", "-m", module, *chosen])  # noqa: S606 — no shell is the point


@main.command()
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
        return
    if job.state == State.PAUSED:
        raise click.ClickException(f"{job.id} is paused; `dcgan resume {job.id}` queues it again.")
    if job.error:
        raise DcganError(job.error.code, job.error.detail)
    raise click.ClickException(f"{job.id} ended as {job.state}; `dcgan retry {job.id}` trains it again.")


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


@main.command()
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


@main.command()
@click.argument("job")
@click.pass_obj
def watch(url: str, job: str) -> None:
    """Show a job until it ends, like `dcgan train`, with the same exit codes."""
    with Client(url) as client:
        _follow_to_success(client, client.job(job))


@main.command()
@click.argument("job")
@click.pass_obj
def cancel(url: str, job: str) -> None:
    """Cancel a job; its checkpoints are kept."""
    with Client(url) as client:
        click.echo(client.cancel(job).state)


@main.command()
@click.argument("job")
@click.pass_obj
def pause(url: str, job: str) -> None:
    """Save a job and free its worker."""
    with Client(url) as client:
        click.echo(client.pause(job).state)


@main.command()
@click.argument("job")
@click.pass_obj
def resume(url: str, job: str) -> None:
    """Queue a paused job again."""
    with Client(url) as client:
        click.echo(client.resume(job).state)


@main.command()
@click.argument("job")
@click.pass_obj
def retry(url: str, job: str) -> None:
    """Train a failed or cancelled job again as a new job, and print its id."""
    with Client(url) as client:
        with on_ctrl_c(MAYBE_SUBMITTED):
            made = client.retry(job)
        click.echo(made.id)


@main.command()
@click.option(
    "--data-root",
    envvar="DCGAN_DATA_ROOT",
    show_envvar=True,
    type=click.Path(path_type=Path),
    default="data",
    help="Directory for all data.",
)
@click.option("--output", type=click.Path(path_type=Path), default="demo-samples.png", help="Output file.")
@click.option(
    "--archive",
    type=click.Path(path_type=Path),
    default="examples/fashion-mnist-5k.zip",
    help="Archive of pictures to train on.",
)
def demo(data_root: Path, output: Path, archive: Path) -> None:
    """Demonstrate the service: upload, train for a few minutes, write a sheet of samples, stop."""
    demonstration.run(data_root, output, archive, console)


for command in (upload, datasets, samples, models):
    main.add_command(command)

if __name__ == "__main__":
    main()
