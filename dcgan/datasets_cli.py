"""The commands `dcgan upload` and `dcgan datasets`."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from dcgan.client import Client
from dcgan.display import plain, show_table
from dcgan.interruption import on_ctrl_c
from dcgan.replies import Dataset


@click.command()
@click.argument("archive", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Display name.  [default: the file name]")
@click.pass_obj
def upload(url: str, archive: Path, name: str | None) -> None:
    """Upload a zip of pictures, wait until it can be trained on, and print its id.

    The id is also printed to stderr right after the upload, and at the end what the archive contains.
    Ctrl-C does not stop the preparation."""
    if archive.is_dir():
        command = shlex.join(["zip", "-r", "pictures.zip", str(archive)])
        raise click.BadParameter(f"{archive} is a directory; zip it first: `{command}`", param_hint="ARCHIVE")
    with Client(url) as client:
        with on_ctrl_c("The archive may have been uploaded; if it was, `dcgan datasets` shows it."):
            dataset = client.upload_dataset(archive, name)
        click.echo(f"{dataset.id} is uploaded and being prepared.", err=True)
        with on_ctrl_c("Its preparation goes on; `dcgan datasets` shows how it stands."):
            dataset = client.wait_dataset(dataset.id)
    if found := "; ".join(_found(dataset)):
        click.echo(found, err=True)
    click.echo(dataset.id)


@click.command()
@click.pass_obj
def datasets(url: str) -> None:
    """List the datasets, newest first."""
    with Client(url) as client:
        show_table(
            ("dataset", "state", "images", "name"),
            [
                (
                    dataset.id,
                    dataset.state,
                    "" if dataset.images is None else f"{dataset.images:,}",
                    dataset.name or "",
                )
                for dataset in client.datasets()
            ],
        )


def _found(dataset: Dataset) -> Iterator[str]:
    """What the archive contains, in parts of a sentence."""
    if dataset.images is not None:
        yield _counted(dataset.images, "picture")
    if dataset.rejected_images:
        first = ""
        if dataset.rejected:
            file = dataset.rejected[0]
            first = f", the first: {plain(file.name)}: {plain(file.reason).removesuffix('.')}"
        yield f"{_counted(dataset.rejected_images, 'file')} rejected{first}"
    if dataset.duplicate_images:
        yield _counted(dataset.duplicate_images, "duplicate")


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}" + ("" if count == 1 else "s")
