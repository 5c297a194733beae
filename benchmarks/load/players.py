"""The servers under comparison, each started as its users would start it, and measured in turns."""

import contextlib
import os
import signal
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.load.client import Address, Reply
from benchmarks.load.deployment import Laid
from service.ports import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass
class Player:
    """A server in its own processes."""

    name: str
    address: Address
    process: subprocess.Popen[bytes]
    sleeps: bool = False
    """Whether it can be paused during the turns of others; a service with leases cannot."""
    _asleep: bool = field(default=False, init=False)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wake the server on entry and put it to sleep on exit."""
        self.wake()
        yield
        self.sleep()

    def sleep(self) -> None:
        if self.sleeps and not self._asleep:
            self._asleep = True
            self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self._signal(signal.SIGCONT)

    def memory(self, *words: str) -> int:
        """Resident bytes of its processes whose command lines contain these words in sequence."""
        wanted = " ".join(words)
        return sum(one.memory_info().rss for one in self.family() if wanted in " ".join(one.cmdline()[2:]))

    def cpu_seconds(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self.family())

    def end(self) -> None:
        self.wake()
        family = self.family()
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()
        self.process.wait()

    def family(self) -> list[psutil.Process]:
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def _signal(self, number: signal.Signals) -> None:
        for one in self.family():
            one.send_signal(number)


def start_ours(root: Path, samplers: int, cache_bytes: int) -> Player:
    """Start `dcgan up` on a data root. A small cache evicts each seed before it is requested again."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "service.launcher", "--port", str(port)]
    process = _start(
        [*command, "--data-root", str(root), "--samplers", str(samplers)],
        {"DCGAN_SAMPLE_CACHE_BYTES": str(cache_bytes)},
        root.with_suffix(".log"),
    )
    return _up(Player("ours", Address(port), process), "/readyz")


def start_plain(generator: Laid, threads: int, log: Path) -> Player:
    port = free_port()
    script = str(ROOT / "benchmarks/rivals/plain_server.py")
    process = _start([sys.executable, *_arguments(script, generator, port, threads)], {}, log)
    return _up(Player("plain", Address(port), process, sleeps=True), "/samples?seed=1")


def start_litserve(
    generator: Laid, threads: int, environment: Path, log: Path, *, fast_queue: bool
) -> Player:
    port = free_port()
    script = str(ROOT / "benchmarks/rivals/litserve_server.py")
    options = ["--fast-queue"] if fast_queue else []
    python = litserve_python(environment)
    process = _start([str(python), *_arguments(script, generator, port, threads), *options], {}, log)
    return _up(Player("LitServe", Address(port), process, sleeps=True), "/health")


def _arguments(script: str, generator: Laid, port: int, threads: int) -> list[str]:
    return ["-P", script, str(generator.path), str(port), "--threads", str(threads)]


def litserve_python(environment: Path) -> Path:
    """The Python of a virtual environment with LitServe, created if missing; it also imports our torch."""
    python = environment.absolute() / "bin" / "python"  # the server starts in another directory
    if not python.exists():
        print(f"making an environment with LitServe in {environment}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-qq", "litserve==0.2.19"], check=True)
        (site,) = (environment / "lib").glob("python*/site-packages")
        ours = [path for path in sys.path if path.endswith("site-packages")]
        (site / "torch-of-the-house.pth").write_text("\n".join(ours) + "\n")
    return python


def is_png(reply: Reply, resolution: int) -> bool:
    """Whether the response is a complete PNG file, `resolution` pixels square."""
    return (
        reply.body.startswith(PNG_START)
        and struct.unpack(">II", reply.body[16:24]) == (resolution, resolution)
        and reply.body.endswith(b"IEND\xaeB`\x82")
    )


def _start(command: list[str], more: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
        return subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, cwd=log.parent, start_new_session=True
        )


def _up(player: Player, path: str) -> Player:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and player.process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{player.address.port}{path}", timeout=5):
                return player
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    player.end()
    raise SystemExit(f"{player.name} does not start; see its log")
