"""The command `dcgan samples`."""

from pathlib import Path

import click

from dcgan.client import Client
from dcgan.files import is_stdout, naming

_OWN = {"seed": "seed", "count": "count", "to": "to", "model": "model", "format": "output"}
"""Parameters that `--set` does not take, and their options."""


@click.command()
@click.option("--seed", type=int, default=0, help="The first seed.")
@click.option(
    "--count", type=int, default=1, help="Number of consecutive seeds; more than one makes a sheet."
)
@click.option(
    "--to",
    type=int,
    help="Another seed: a sheet of points on the path from one to the other; needs a --count of 2 or more.",
)
@click.option("--model", help="Alias, job id or digest.  [default: latest]")
@click.option(
    "--set",
    "others",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other parameter of GET /samples: scale=4.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default="samples.png",
    help="Output file; its suffix sets the format: .png, .webp, .json, .npz or .zip. "
    "With - a PNG goes to stdout.",
)
@click.pass_obj
def samples(
    url: str,
    seed: int,
    count: int,
    to: int | None,
    model: str | None,
    others: tuple[str, ...],
    output: Path,
) -> None:
    """Write the picture of a seed, or a sheet of several; .zip, .npz and .json hold them separately.

    The name of the file is printed, unless the samples are written to stdout or to a device.
    """
    options: dict[str, str | float] = dict(map(_option, others))
    if to is not None:
        options["to"] = to
    with Client(url) as client:
        made = client.samples(seed, model, count, format=output.suffix[1:].lower() or "png", **options)
    if is_stdout(output):
        click.echo(made, nl=False)
        return
    with naming(output):
        output.write_bytes(made)
    if output.is_file():
        click.echo(output)


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as scale=4.", param_hint="--set")
    if name in _OWN:
        raise click.BadParameter(f"{name} has an option of its own, --{_OWN[name]}.", param_hint="--set")
    return name, value
