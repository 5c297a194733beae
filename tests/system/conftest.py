"""Running stacks for the system tests: a shared one, and one for each test that breaks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests that leave it running, started beside foreign packages of our names."""
    shared = Stack(tmp_path_factory.mktemp("shared") / "data")
    yield shared.start(cwd=foreign_packages(tmp_path_factory.mktemp("elsewhere")))
    shared.stop()


def foreign_packages(folder: Path) -> Path:
    """Fill a folder with packages whose import would end the process."""
    for name in ("models", "service", "worker", "contract"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise SystemExit('imported somebody else')")
    return folder


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that the test may do anything to; its leftover processes are killed."""
    mine = Stack(tmp_path / "data")
    yield mine
    for process in mine.processes():
        process.kill()
