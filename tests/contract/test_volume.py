"""What cannot be listed, or is away, is not taken for empty."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.volume import Volume

JOB = "job_0000000000000001"
DIGEST = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("list_all", "directory_of"),
    [
        (Volume.all_aliases, lambda volume: volume.aliases),
        (Volume.all_imports, lambda volume: volume.imports),
        (Volume.all_notes_of_imports, lambda volume: volume.note_of_import(DIGEST).parent),
        (lambda volume: volume.all_facts(JOB), lambda volume: volume.job(JOB)),
    ],
)
def test_directory_that_is_missing_or_unreadable_is_not_empty(
    volume: Volume, list_all: Callable[[Volume], object], directory_of: Callable[[Volume], Path]
) -> None:
    directory = directory_of(volume)
    directory.mkdir(exist_ok=True)
    assert not list_all(volume)
    shutil.rmtree(directory)
    with pytest.raises(FileNotFoundError):
        list_all(volume)
    directory.touch()
    with pytest.raises(NotADirectoryError):
        list_all(volume)
