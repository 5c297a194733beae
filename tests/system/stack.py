"""The whole service as a user starts it: `dcgan up` in its own processes, accessed over HTTP."""

import contextlib
import functools
import io
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import redis

from contract.volume import Volume
from service.ports import free_port
from tests.conftest import proof
from worker.facts import read_facts

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
ARCHIVE = REPOSITORY / "examples" / "fashion-mnist-5k.zip"
TINY = {"kind": "dcgan", "latent_size": 16, "generator_width": 8, "discriminator_width": 8}
PICTURES = 800
"""Taken from the archive: they are prepared in a second, and some forty are held out."""
IMAGES = 640
LEASE_SECONDS = 4.0
"""Longer than a worker waits for a core. It hears of what is wanted five times in a lease."""
BRIEF_LEASE_SECONDS = 1.0
"""For stacks in which owners are to lose what they own."""
ENDS_WITHIN_SECONDS = proof(30.0, 10.0)
KILLED_WITHIN_SECONDS = 30.0
"""Until the process that started it has reaped it, which may have to wait for a core."""
LOG_SHOWN = 4000  # characters from its end, if the stack does not start
MOST_ATTEMPTS = 3
PATIENCE_SECONDS = 60.0
"""How long the service may be away at worst before it counts as broken."""
PAUSE_SECONDS = (0.02, 0.15)
"""Between two looks, at first and at most: looking takes time from the training that is waited for."""


class AwayError(Exception):
    """The service still answers 503: a part of it is away."""


class Patiently(httpx.HTTPTransport):
    """Repeats a request while the service answers 503, because a part of it is away or waits for a core."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            response = super().handle_request(request)
            if response.status_code != 503 or time.monotonic() > deadline:
                return response
            response.close()
            time.sleep(max(PAUSE_SECONDS))


class Stack:
    """One `dcgan up` on a data root, and what the tests do to it."""

    def __init__(
        self,
        root: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.root = root
        self._lease_seconds = lease_seconds
        self._options = options
        self._environment = environment or {}
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, transport=Patiently())
        self._images: dict[str, int] = {}
        """How many each job is to be trained on."""
        self._log = root.with_suffix(".log")

    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        return {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "DCGAN_LEASE_SECONDS": str(self._lease_seconds),
            "DCGAN_SNAPSHOT_SECONDS": "0.3",
            "DCGAN_WEBHOOK_ALLOW_PRIVATE": "true",
            "DCGAN_THREADS": "1",  # two threads on a shared core wait for each other
            **self._environment,
        }

    def start(self, cwd: Path = REPOSITORY) -> "Stack":
        self.launch(cwd)
        return self.await_ready_line()

    def launch(self, cwd: Path = REPOSITORY) -> None:
        """Start it, and return at once."""
        command = [sys.executable, "-P", "-m", "service.launcher", "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self.launcher = psutil.Popen(
                [*command, "--data-root", str(self.root), *self._options],
                stdout=log,
                stderr=log,
                cwd=cwd,
                env=self.environment(),
            )

    def await_ready_line(self) -> "Stack":
        try:
            until(self._announced, "the ready line", 300)
        except AssertionError:
            self.launcher.kill()
            raise AssertionError(self.log()[-LOG_SHOWN:]) from None
        return self

    def _announced(self) -> bool:
        assert self.launcher.poll() is None, self.log()
        return re.search(rf"^ready {self.url}$", self.log_since_start(), re.MULTILINE) is not None

    def log(self) -> str:
        return self._log.read_text()

    def log_since_start(self) -> str:
        """Its part that began with the last start."""
        return self._log.read_bytes()[self._log_start :].decode()

    def stop(self) -> float:
        """Send Ctrl-C and wait for the end. Returns the seconds that it took."""
        started = time.monotonic()
        self.launcher.send_signal(signal.SIGINT)
        assert self.launcher.wait(ENDS_WITHIN_SECONDS + 5) == 0, self.log()
        return time.monotonic() - started

    def processes(self) -> list[psutil.Process]:
        """All live processes of this machine that work on this data root, even if the launcher has died."""
        return [process for process in psutil.process_iter() if _works_on(process, self.root)]

    def searched(self) -> list[psutil.Process]:
        """The processes among which `find` looks: all that the launcher has started."""
        return self.launcher.children(recursive=True)

    def find(self, *words: str) -> list[psutil.Process]:
        """The processes, without their guards, whose command lines contain these words in sequence."""
        wanted = " ".join(words)
        lines = {process: _command_line(process) for process in self.searched()}
        return [process for process, line in lines.items() if wanted in line and "guard.py" not in line]

    @contextlib.contextmanager
    def second_gateway(self, **environment: str) -> Iterator[tuple[psutil.Process, str]]:
        """Another gateway process beside the stack's own, and its URL."""
        port = free_port()
        command = [sys.executable, "-P", "-m", "service", "--port", str(port)]
        variables = self.process("-m", "service --").environ() | environment
        process, url = (
            psutil.Popen(command, env=variables, stderr=subprocess.DEVNULL),
            f"http://127.0.0.1:{port}",
        )
        try:
            until(lambda: httpx.get(f"{url}/livez").is_success, "a gateway")
            yield process, url
        finally:
            process.terminate()
            process.wait(KILLED_WITHIN_SECONDS)

    def process(self, *words: str) -> psutil.Process:
        """The one such process."""
        (found,) = self.find(*words)
        return found

    def await_ready(self) -> None:
        until(lambda: self.get("/readyz"), "a service that is whole")

    def training_child(self) -> psutil.Process:
        """The process that trains: the forkserver's child."""
        trainer = self.process("-m", "worker", "--role", "train")
        (child,) = (process for server in trainer.children() for process in server.children())
        return child

    def upload(self, content: bytes | None = None, name: str = "fashion") -> str:
        response = self.http.post(
            "/datasets",
            params={"name": name},
            content=content or ARCHIVE.read_bytes(),
            headers={"Content-Type": "application/zip"},
        )
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def dataset(self) -> str:
        """Some of the example pictures, uploaded once per stack and ready."""
        if not hasattr(self, "_dataset"):
            self._dataset = self.upload(few_pictures())
            until(lambda: self.get(f"/datasets/{self._dataset}")["state"] == "ready", "a ready dataset")
        return self._dataset

    def train(self, images: int = IMAGES, **parameters: Any) -> str:
        """Queue a job with few previews, because a preview takes as long as two steps."""
        request = {
            "dataset": self.dataset(),
            "architecture": TINY,
            "images": images,
            "checkpoint_every_images": max(1, images // 2),
            "preview_every_images": images,
            **parameters,
        }
        only_once = {"Idempotency-Key": os.urandom(8).hex()}
        response = self.http.post("/jobs", json=request, headers=only_once)
        assert response.status_code == 202, response.text
        job = str(response.json()["id"])
        self._images[job] = images
        return job

    def get(self, path: str) -> Any:
        response = self.http.get(path)
        if response.status_code == 503:
            raise AwayError(response.text)
        assert response.status_code == 200, response.text
        return response.json()

    def job(self, job_id: str) -> Any:
        return self.get(f"/jobs/{job_id}")

    def await_state(self, job_id: str, *states: str, seconds: float = 300) -> Any:
        def reached() -> Any:
            job = self.job(job_id)
            return job if job["state"] in states else None

        return until(reached, f"{job_id} in {states}", seconds)

    def await_images(self, job_id: str, images: int) -> Any:
        def reached() -> Any:
            job = self.job(job_id)
            assert job["state"] in ("queued", "running"), job
            return job if job["progress"]["images_seen"] >= images else None

        return until(reached, f"{job_id} past {images} images", 300)

    def records(self) -> redis.Redis:
        """A client of the stack's durable Redis."""
        return self._redis(self.root / "redis")

    def traffic(self) -> redis.Redis:
        """A client of the Redis that carries requests for samples."""
        return self._redis(self.root / "run" / "redis-samples")

    def _redis(self, home: Path) -> redis.Redis:
        lines = (home / "redis.conf").read_text().splitlines()
        settings = dict(line.split(" ", 1) for line in lines)
        return redis.Redis(port=int(settings["port"]), password=settings["requirepass"])

    def snapshots(self, job_id: str) -> list[Path]:
        """The job's snapshots on the volume, the newest last."""
        return sorted((self.root / "jobs" / job_id / "resume").glob("*.safetensors"))

    def saved_images(self, job_id: str) -> int:
        """The images seen at the snapshot from which the job would resume."""
        facts = read_facts(Volume(self.root), job_id)
        return facts.snapshot.images_seen if facts and facts.snapshot else 0

    def is_over(self, job_id: str) -> bool:
        """Whether the job has made its last snapshot, after its last step, or has ended."""
        newest = self.snapshots(job_id)[-1:]
        facts = read_facts(Volume(self.root), job_id)
        has_ended = facts is not None and facts.state.is_terminal  # its snapshots may be gone
        return has_ended or any(images_of(snapshot) >= self._images[job_id] for snapshot in newest)

    def events(self, job_id: str) -> list[Any]:
        response = self.http.get(
            f"/jobs/{job_id}/events", params={"limit": 5000}, headers={"Accept": "application/json"}
        )
        return list(response.json()["events"])

    def weights(self, job_id: str) -> bytes:
        """The tensors of the newest checkpoint, without the header, which names the job."""
        newest = max((self.root / "jobs" / job_id / "checkpoints").glob("*.safetensors"))
        content = newest.read_bytes()
        return content[8 + int.from_bytes(content[:8], "little") :]


@functools.cache
def few_pictures() -> bytes:
    """An archive of the first `PICTURES` example pictures."""
    few = io.BytesIO()
    with zipfile.ZipFile(ARCHIVE) as all_pictures, zipfile.ZipFile(few, "w") as archive:
        for name in all_pictures.namelist()[:PICTURES]:
            archive.writestr(name, all_pictures.read(name))
    return few.getvalue()


def images_of(snapshot: Path) -> int:
    """How many images had been seen at a snapshot, or a checkpoint."""
    return int(snapshot.name.partition("-")[0])


def caught(attempt: Callable[[], T | None], what: str) -> T:
    """Attempt this until it is not None: a short job may end while a test waits for a core."""
    for _ in range(MOST_ATTEMPTS):
        if (outcome := attempt()) is not None:
            return outcome
    raise AssertionError(f"attempted {MOST_ATTEMPTS} times in vain: {what}")


def until(condition: Callable[[], T], what: str, seconds: float = 120) -> T:
    """Wait until the condition returns something truthy. The service may be away meanwhile."""
    deadline = time.monotonic() + seconds
    pause, longest = PAUSE_SECONDS
    while time.monotonic() < deadline:
        try:
            if answer := condition():
                return answer
        except (httpx.TransportError, AwayError):
            pass
        time.sleep(pause)
        pause = min(1.3 * pause, longest)
    raise AssertionError(f"waited {seconds} s for {what}")


def alive(process: psutil.Process) -> bool:
    """Whether a process is neither gone nor a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _works_on(process: psutil.Process, root: Path) -> bool:
    try:
        return (
            process.environ().get("DCGAN_DATA_ROOT") == str(root) or str(root) in process.cmdline()
        ) and alive(process)
    except psutil.Error:
        return False


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""
