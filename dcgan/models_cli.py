"""The commands `dcgan models …`: manage aliases, export and import generators."""

import re
from pathlib import Path

import click

from contract.identifiers import DIGEST_PATTERN, JOB_PATTERN
from contract.workshop import SUFFIXES, ExportFormat
from dcgan.client import FORM_OF_ENDING, Client
from dcgan.display import show_table
from dcgan.files import is_stdout
from dcgan.replies import Model

IfMatch = click.option("--if-match", metavar="ETAG", help="Fail unless this is the alias's current ETag.")


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """List the aliases and imported generators, or run one of the commands below."""
    if context.invoked_subcommand is not None:
        return
    with Client(context.obj) as client:
        show_table(
            ("alias", "revision", "of", "generator"),
            [
                (model.alias or "", _revision(model), _source(model), model.digest)
                for model in client.models()
            ],
        )


@models.command()
@click.argument("alias")
@click.argument("generator")
@click.option("--follow", is_flag=True, help="Follow the job: always point to its best checkpoint so far.")
@IfMatch
@click.pass_obj
def promote(url: str, alias: str, generator: str, follow: bool, if_match: str | None) -> None:
    """Point an alias to a job's best checkpoint (job_…), or to a digest (sha256:…)."""
    is_job = re.fullmatch(JOB_PATTERN, generator)
    if not is_job and not re.fullmatch(DIGEST_PATTERN, generator):
        raise click.BadParameter(
            f"{generator!r} is neither a job's id (job_…) nor a whole digest (sha256:…)."
        )
    target = {"job" if is_job else "digest": generator}
    with Client(url) as client:
        _tell(client.point_alias(alias, **target, follow=follow, if_match=if_match))


@models.command()
@click.argument("alias")
@IfMatch
@click.pass_obj
def rollback(url: str, alias: str, if_match: str | None) -> None:
    """Point an alias back to what it pointed to before."""
    with Client(url) as client:
        _tell(client.roll_back_alias(alias, if_match=if_match))


@models.command()
@click.argument("alias")
@click.pass_obj
def history(url: str, alias: str) -> None:
    """Show what an alias points to and pointed to, newest first."""
    with Client(url) as client:
        show_table(
            ("#", "at", "by", "of", "generator"),
            [
                (
                    _revision(past),
                    f"{past.at.astimezone():%Y-%m-%d %H:%M}",
                    past.by,
                    _source(past),
                    past.digest,
                )
                for past in client.alias_history(alias)
            ],
        )


@models.command()
@click.argument("reference", default="latest")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(SUFFIXES)),
    help="[default: from the file's suffix, or safetensors]",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Output file: .safetensors, .onnx or .pt2, or - for stdout.  [default: named after the digest]",
)
@click.pass_obj
def export(url: str, reference: str, form: ExportFormat | None, output: Path | None) -> None:
    """Write a generator to a file: the checkpoint, or a program made from it."""
    if output and form and (ending := FORM_OF_ENDING.get(output.suffix.lower(), form)) != form:
        raise click.BadParameter(f"{output} would hold {form}, but its ending says {ending}.")
    with Client(url) as client:
        if output is None:
            digest = client.model(reference).digest
            name = f"{digest.removeprefix('sha256:')[:16]}.{SUFFIXES[form or 'safetensors']}"
            reference, output = digest, Path(name)
        client.export_model(reference, output, form)
    if output.is_file() and not is_stdout(output):
        click.echo(output)


@models.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def import_(url: str, file: Path) -> None:
    """Import a checkpoint file, and print its digest."""
    with Client(url) as client:
        click.echo(client.import_model(file).digest)


@models.command()
@click.argument("reference")
@click.pass_obj
def delete(url: str, reference: str) -> None:
    """Delete an alias, or an imported generator by its digest."""
    with Client(url) as client:
        client.delete_model(reference)


def _tell(model: Model) -> None:
    click.echo(f"{model.alias} means {model.digest} (revision {model.revision}, ETag {model.etag})")


def _revision(model: Model) -> str:
    return str(model.revision or "")


def _source(model: Model) -> str:
    return ("follows " if model.follow else "") + (model.job or "imported")
