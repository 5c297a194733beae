"""What each process imports when it starts, checked in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "numpy", "celery", "kombu", "redis", "fastapi", "starlette", "uvicorn", "pydantic_settings"}


def loaded_by(statement: str, where: Path) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after one statement."""
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_gateway_does_not_import_torch(tmp_path: Path) -> None:
    held = loaded_by("import service.app, service.__main__", tmp_path)
    assert not held & {"torch", "numpy", "PIL", "models", "worker", "dcgan"}


def test_worker_does_not_import_a_web_server(tmp_path: Path) -> None:
    assert not loaded_by("import worker.app", tmp_path) & {"fastapi", "starlette", "uvicorn", "service"}


def test_imports_do_not_touch_the_gpu(tmp_path: Path) -> None:
    """A forkserver that had touched it could not pass it on to its children."""
    loaded_by(
        "import torch\n"
        "def touch(): raise AssertionError('an import touched the GPU')\n"
        "torch.cuda._lazy_init = touch\n"
        "import worker.training, worker.estimating, worker.crafting, worker.engine\n"
        "import models.sampler, models.previews",
        tmp_path,
    )


def test_public_client_does_not_import_the_service(tmp_path: Path) -> None:
    assert not loaded_by("from dcgan import Client", tmp_path) & (HEAVY | {"service", "worker", "models"})


@pytest.mark.parametrize("package", ["contract", "models", "worker", "service", "dcgan"])
def test_foreign_package_of_the_same_name_is_not_imported(tmp_path: Path, package: str) -> None:
    """Our package names are generic: a user may start us in a directory that has its own `models/`."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("raise SystemExit('the wrong one')")
    loaded_by(f"import {package}", tmp_path)
