"""Opens archives. An error of the volume, which zipfile takes for one of the archive, is raised as it is."""

import zipfile
from pathlib import Path

from contract.durable import lack

REFUSALS = (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError)
"""What zipfile raises at what is no archive."""


def opened(archive: Path) -> zipfile.ZipFile:
    """Open an archive.

    Raises:
        OSError: the volume fails.
        REFUSALS: it is no archive.
    """
    try:
        return zipfile.ZipFile(archive)
    except REFUSALS as error:
        raise_if_lacking(error.__context__)
        raise


def raise_if_lacking(error: BaseException | None) -> None:
    """Raise an error that is the volume's; one of a damaged archive has another errno, or none."""
    if error and lack(error):
        raise error
