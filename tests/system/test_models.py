"""Generators exported from, imported into and promoted in a real service, with `dcgan models`."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from dcgan.cli import main
from tests.system.stack import Stack, until

Run = Callable[..., str]


@pytest.fixture
def run(stack: Stack) -> Run:
    """Runs a command of `dcgan models` and returns its output."""

    def invoke(*words: str) -> str:
        done = CliRunner().invoke(main, ["--url", stack.url, "models", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output.strip()

    return invoke


@pytest.fixture(scope="module")
def job(stack: Stack) -> str:
    """A job with two checkpoints."""
    job_id = stack.train(name="to take away", seed=3, checkpoint_every_images=320)
    stack.await_state(job_id, "succeeded")
    return job_id


def test_generator_of_a_finished_job_is_loaded_before_it_is_requested(stack: Stack) -> None:
    job_id = stack.train(name="nobody asked yet", seed=4)
    stack.await_state(job_id, "succeeded")
    loaded = f"loaded generator {stack.job(job_id)['checkpoint']['digest'][:19]}"
    until(lambda: loaded in stack.log(), "a generator loaded unasked")


def test_an_alias_is_promoted_and_rolled_back(stack: Stack, job: str, run: Run) -> None:
    first, second = (one["digest"] for one in stack.job(job)["checkpoints"])
    run("promote", "shown", first)
    etag = stack.get("/models/shown")["etag"]
    run("promote", "shown", second, "--if-match", etag)
    lost = CliRunner().invoke(
        main, ["--url", stack.url, "models", "promote", "shown", job, "--if-match", etag]
    )
    assert "precondition_failed" in lost.output
    assert run("rollback", "shown").startswith(f"shown means {first} (revision 3")
    run("promote", "shown", job, "--follow")
    assert [line.split()[0] for line in run("history", "shown").splitlines()[1:]] == ["4", "3", "2", "1"]
    assert f"follows {job}" in run()
    run("delete", "shown")
    assert "shown" not in run()


def test_exported_generator_can_be_imported_and_outlives_its_job(
    stack: Stack, job: str, run: Run, tmp_path: Path
) -> None:
    digest = stack.job(job)["checkpoint"]["digest"]
    pinned = {"model": digest, "seed": 7}
    picture = stack.http.get("/samples", params=pinned).content
    file, program = tmp_path / "g.safetensors", tmp_path / "g.pt2"
    run("export", job, "-o", str(file))
    run("export", job, "--format", "torch-export", "-o", str(program))
    images = torch.export.load(io.BytesIO(program.read_bytes())).module()(torch.zeros(5, 16))
    assert images.shape == (5, 1, 32, 32)
    assert run("import", str(file)) == run("import", str(file)) == digest
    stack.http.delete(f"/jobs/{job}").raise_for_status()
    assert stack.http.get("/samples", params=pinned).content == picture
    assert "imported" in run()
    run("delete", digest)
    assert stack.http.get(f"/models/{digest}").status_code == 404


def test_damaged_generator_is_refused(stack: Stack, run: Run, tmp_path: Path) -> None:
    job = stack.train(seed=4)
    stack.await_state(job, "succeeded")
    file = tmp_path / "g.safetensors"
    run("export", job, "-o", str(file))
    content = bytearray(file.read_bytes())
    content[-4:] = b"\0\0\xc0\x7f"  # not a number
    file.write_bytes(content)
    done = CliRunner().invoke(main, ["--url", stack.url, "models", "import", str(file)])
    assert "not_a_checkpoint" in done.output
    assert "not finite" in done.output
