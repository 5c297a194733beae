"""Running stacks for the system tests: a shared one, and one for each test that breaks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.stack import Stack

HERE = Path(__file__).parent
_running: list[Stack] = []
"""The shared stack, once a test has asked for it."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """One stack for all tests that leave it running, started beside foreign packages of our names."""
    if not _running:
        shared = Stack(tmp_path_factory.mktemp("shared") / "data")
        _running.append(shared.start(cwd=foreign_packages(tmp_path_factory.mktemp("elsewhere"))))
    return _running[0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the shared stack before the tests of another directory, which it would take time from.

    If xdist nevertheless gives this process another file of this directory later, that starts a new one.
    """
    if nextitem is None or HERE not in nextitem.path.parents:
        _stop()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Stop it also after an interruption."""
    _stop()


def _stop() -> None:
    while _running:
        _running.pop().stop()


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
