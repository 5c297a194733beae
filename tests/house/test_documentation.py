"""The documentation is complete: every setting, route, error code and dependency has its place."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from contract.durable import LACKS
from contract.errors import ErrorCode
from contract.events import EventType
from dcgan import Client
from models.diagnosis import Cause
from service.app import create_app
from service.settings import Settings as GatewaySettings
from worker.settings import Settings as WorkerSettings

SUSPICIONS = [
    f"{cause}_suspected" for cause in (Cause.MODE_COLLAPSE, Cause.DISCRIMINATOR_WINS, Cause.DECLINE)
]


def test_every_setting_is_documented(root: Path) -> None:
    text = (root / "docs/operations.md").read_text()
    fields = {**GatewaySettings.model_fields, **WorkerSettings.model_fields}
    assert not [name for name in fields if f"`DCGAN_{name.upper()}`" not in text]


def test_every_route_is_documented(root: Path) -> None:
    text = (root / "docs/api.md").read_text()
    routes = [
        f"{method.upper()} {path}"
        for path, operations in create_app(GatewaySettings()).openapi()["paths"].items()
        for method in operations
    ]
    assert routes
    assert not [route for route in routes if f"`{route}`" not in text]


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_is_documented(root: Path, code: ErrorCode) -> None:
    assert f"`{code}`" in (root / "docs/api.md").read_text()


@pytest.mark.parametrize("name", [*EventType, *Cause, *SUSPICIONS, *filter(None, LACKS.values())])
def test_every_kind_of_event_and_warning_is_documented(root: Path, name: str) -> None:
    text = (root / "docs/api.md").read_text()
    events = text[text.index("### Events") : text.index("### Before a job is queued")]
    assert f"`{name}`" in events


def test_every_method_and_error_of_the_client_is_documented(root: Path) -> None:
    text = (root / "docs/api.md").read_text()
    said = text[text.index("## From Python") : text.index("## The latent of a seed")]
    methods = [name for name in vars(Client) if not name.startswith("_") and name != "close"]
    modules = [path for path in (root / "dcgan").glob("*.py") if path.name != "demo.py"]
    codes = [code for path in modules for code in re.findall(r'DcganError\(\s*"([a-z_]+)"', path.read_text())]
    assert "timeout" in codes
    assert not [name for name in methods if not re.search(rf"`{name}[(`]", said)]
    assert not [code for code in codes if f"`{code}`" not in said]


def test_every_dependency_is_justified(root: Path) -> None:
    text = (root / "docs/decisions/0001-dependencies.md").read_text()
    assert not [name for name in declared(root) if f"| {name} |" not in text]


def test_every_dependency_is_pinned(root: Path) -> None:
    pinned = {
        re.split("==", line)[0].lower().replace("_", "-")
        for line in (root / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    assert declared(root) <= pinned


def test_constraints_hold_only_platform_independent_pins(root: Path) -> None:
    lines = (root / "constraints.txt").read_text().splitlines()
    assert not [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line)]


def test_links_between_documents_resolve(root: Path) -> None:
    documents = [root / "README.md", *(root / "docs").rglob("*.md")]
    broken = [
        f"{document.relative_to(root)}: {target}"
        for document in documents
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert not broken


def declared(root: Path) -> set[str]:
    """The names of the dependencies in pyproject.toml, except our own extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    return {re.split(r"[^A-Za-z0-9_-]", line)[0].lower() for line in asked} - {"dcgan"}
