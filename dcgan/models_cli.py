"""The commands `dcgan models …`: what generators there are, and what the aliases mean."""

import re
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from contract.identifiers import JOB_PATTERN
from contract.workshop import SUFFIXES, ExportFormat
from dcgan.client import Client
from dcgan.replies import Model

console = Console(highlight=False)

IfMatch = click.option("--if-match", metavar="ETAG", help="Only if this is the alias's ETag now.")


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """List the aliases and imported generators; or one of the commands below."""
    if context.invoked_subcommand is not None:
        return
    table = Table("alias", "generator", "of", "revision", box=None)
    with Client(context.obj) as client:
        for model in client.models():
            table.add_row(model.alias or "", _short(model), _source(model), str(model.revision or ""))
    console.print(table)


@models.command()
@click.argument("alias")
@click.argument("generator")
@click.option("--follow", is_flag=True, help="Mean the job's best checkpoint as better ones come.")
@IfMatch
@click.pass_obj
def promote(url: str, alias: str, generator: str, follow: bool, if_match: str | None) -> None:
    """Let an alias mean a job's best checkpoint (job_…), or that of a digest (sha256:…)."""
    is_job = re.fullmatch(JOB_PATTERN, generator)
    target = {"job" if is_job else "digest": generator}
    with Client(url) as client:
        _tell(client.point_alias(alias, **target, follow=follow, if_match=if_match))


@models.command()
@click.argument("alias")
@IfMatch
@click.pass_obj
def rollback(url: str, alias: str, if_match: str | None) -> None:
    """Let an alias mean again what it meant before."""
    with Client(url) as client:
        _tell(client.roll_back_alias(alias, if_match=if_match))


@models.command()
@click.argument("alias")
@click.pass_obj
def history(url: str, alias: str) -> None:
    """What an alias means and meant, the newest first."""
    table = Table("#", "generator", "of", "by", "at", box=None)
    with Client(url) as client:
        for past in client.alias_history(alias):
            moment = past.at.astimezone().strftime("%Y-%m-%d %H:%M")
            table.add_row(str(past.revision or ""), _short(past), _source(past), past.by, moment)
    console.print(table)


@models.command()
@click.argument("reference", default="latest")
@click.option("--format", "form", type=click.Choice(list(SUFFIXES)), default="safetensors")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="The file to write.  [default: by the digest]"
)
@click.pass_obj
def export(url: str, reference: str, form: ExportFormat, output: Path | None) -> None:
    """Write a generator as a file: the checkpoint, or a program made of it."""
    with Client(url) as client:
        if output is None:
            digest = client.model(reference).digest
            reference, output = digest, Path(f"{digest.removeprefix('sha256:')[:16]}.{SUFFIXES[form]}")
        client.export_model(reference, output, form)
    click.echo(output)


@models.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def import_(url: str, file: Path) -> None:
    """Bring a checkpoint from elsewhere, and print its digest."""
    with Client(url) as client:
        click.echo(client.import_model(file).digest)


@models.command()
@click.argument("reference")
@click.pass_obj
def delete(url: str, reference: str) -> None:
    """Forget an alias, or an imported generator by its digest."""
    with Client(url) as client:
        client.delete_model(reference)


def _tell(model: Model) -> None:
    click.echo(f"{model.alias} means {model.digest} (revision {model.revision}, ETag {model.etag})")


def _short(model: Model) -> str:
    return model.digest[:15]


def _source(model: Model) -> str:
    return ("follows " if model.follow else "") + (model.job or "imported")
