"""The code, each file read and parsed once for the tests of the house rules."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("contract", "models", "worker", "service", "dcgan")


@dataclass(frozen=True)
class Source:
    """A file of code; `path` is relative to the repository, with forward slashes."""

    path: str
    text: str

    @property
    def package(self) -> str:
        return self.path.partition("/")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)

    def at(self, node: ast.AST) -> str:
        """The location of a node, in the form that editors understand."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"

    @cached_property
    def docstrings(self) -> frozenset[int]:
        """The identities of the constants that are docstrings, attribute docstrings included."""
        return frozenset(
            id(node.value)
            for node in self.nodes()
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        )


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Every Python file of the five packages."""
    return list(_read(PACKAGES))


@pytest.fixture(scope="session")
def everything(sources: list[Source]) -> list[Source]:
    """The same, and the tests and benchmarks."""
    return [*sources, *_read(("tests", "benchmarks"))]


@pytest.fixture(scope="session")
def script_parts() -> list[Source]:
    """The files of the Lua script."""
    return list(_read(("contract",), "*.lua"))


def _read(folders: tuple[str, ...], pattern: str = "*.py") -> Iterator[Source]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob(pattern)):
            yield Source(path.relative_to(ROOT).as_posix(), path.read_text())
