"""The command `dcgan`: runs the service's processes, and is a client of a running service."""

import errno
import io
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from dcgan import demo as demonstration
from dcgan import jobs_cli
from dcgan.datasets_cli import datasets, upload
from dcgan.display import console, plain
from dcgan.errors import DcganError
from dcgan.files import naming
from dcgan.models_cli import models
from dcgan.samples_cli import samples


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


for command in (upload, datasets, samples, models, *jobs_cli.COMMANDS):
    main.add_command(command)

if __name__ == "__main__":
    main()
