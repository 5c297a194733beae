"""What a command says when Ctrl-C ends it before it knows the outcome."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def on_ctrl_c(sentence: str) -> Iterator[None]:
    """Say this on stderr after Ctrl-C in the block, then let it end the command."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(sentence, err=True)
        raise
