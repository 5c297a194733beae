"""Running stacks for the system tests: a shared one, and one for each test that breaks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests that leave it running."""
    shared = Stack(tmp_path_factory.mktemp("shared") / "data").start()
    yield shared
    shared.stop()


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that the test may do anything to; its leftover processes are killed."""
    mine = Stack(tmp_path / "data")
    yield mine
    for process in mine.processes():
        process.kill()
