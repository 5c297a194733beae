"""`dcgan up`: starts, supervises and stops Redis, the gateway and the workers together."""

import argparse
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from types import FrameType

from contract.configuration import EXIT_CODE
from contract.keys import Role
from contract.volume import Volume
from service.console import Console, fall_silent, say
from service.embedded_redis import CannotStartError, RedisServer, durable_server, transient_server
from service.guarded import GuardedProcess
from service.settings import inherited_environment, read_settings

logger = logging.getLogger("launcher")

STOP_SECONDS = 8.0
"""From the signal until gateway and workers have ended; Redis is killed after them."""
REDIS_START_SECONDS = 60.0
"""Loading a long append-only file takes a while."""
TRAINER_GRACE_SECONDS = 6.0
LAST_WORDS_SECONDS = 0.2
"""To write pending output once all processes have ended."""
FULL_BYTES = 2**20
"""With less free space, our Redis can write neither its log file nor its append-only file."""
REACHABLE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — only looked up


def main() -> int:
    """Run the stack until SIGINT, SIGTERM or SIGHUP."""
    options = _parse()
    logging.basicConfig(level=logging.INFO, format="launcher   | %(message)s", stream=Console())
    data_root = options.data_root
    with ExitStack() as stack:
        try:
            launcher = Launcher(options)
            _refuse_undecodable(data_root)
            with _using(data_root):
                data_root.mkdir(parents=True, exist_ok=True)
                _claim_data_root(stack, data_root, launcher.url)
                _refuse_busy_port(options.host, options.port)
                launcher.prepare()
            launcher.run()
        except CannotStartError as refusal:
            print(f"dcgan up: {refusal}", file=sys.stderr)  # noqa: T201 — the answer to a person at a terminal
            return 1
        return 0


@dataclass(frozen=True)
class Options:
    """What `dcgan up` was told by its arguments, and else by the settings."""

    host: str
    port: int
    data_root: Path
    trainers: int
    samplers: int
    allowed_hosts: tuple[str, ...]


class Launcher:
    """Starts all processes, restarts those that die, and stops them all."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._volume = Volume(options.data_root)
        self._runtime = self._volume.run / "launcher"
        self._signal: int | None = None
        self._servers: list[RedisServer] = []
        self._redis: list[GuardedProcess] = []
        self._processes: list[GuardedProcess] = []

    @property
    def url(self) -> str:
        """Where the gateway can be reached from this machine."""
        host = REACHABLE.get(self._options.host, self._options.host)
        return (
            f"http://[{host}]:{self._options.port}" if ":" in host else f"http://{host}:{self._options.port}"
        )

    def prepare(self) -> None:
        """Decide which processes to run, without starting any.

        Raises:
            CannotStartError: no Redis URL is set, and there is no redis-server to start.
        """
        self._runtime.mkdir(parents=True, exist_ok=True)
        given = inherited_environment()
        servers: dict[str, RedisServer] = {}
        if not given.get("DCGAN_REDIS_URL"):
            servers["DCGAN_REDIS_URL"] = durable_server(self._volume.root / "redis")
            if not given.get("DCGAN_SAMPLING_REDIS_URL"):
                servers["DCGAN_SAMPLING_REDIS_URL"] = transient_server(self._volume.run / "redis-samples")
        environment = {
            "DCGAN_STOP_GRACE_SECONDS": str(TRAINER_GRACE_SECONDS),
            **given,
            **{name: server.url for name, server in servers.items()},
            "DCGAN_DATA_ROOT": str(self._volume.root),
            "PYTHONUNBUFFERED": "1",
        }
        self._servers = list(servers.values())
        self._redis = [
            GuardedProcess(name, server.command, given, server.directory, shielded=True)
            for name, server in zip(("redis", "redis-samples"), self._servers, strict=False)
        ]
        self._processes = [
            self._python("gateway", ["service", *self._address()], environment),
            *self._workers(Role.TRAIN, "trainer", self._options.trainers, environment),
            *self._workers(Role.SAMPLE, "sampler", self._options.samplers, environment),
            *self._workers(Role.PREPARE, "preparer", 1, environment),
        ]

    def run(self) -> None:
        """Run until a signal arrives. Must be called in the main thread.

        Raises:
            CannotStartError: our Redis ended at its start, or does not answer; or a process rejected its
                settings. If it has run well with them, the machine must have changed, as by a lost GPU: then
                the others go on, and it is started again and again.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._heed_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored under nohup
            signal.signal(signal.SIGHUP, self._heed_signal)
        try:
            for process in self._redis:
                process.start()
            self._await_redis()
            if self._signal is None:
                for process in self._processes:
                    process.start()
                threading.Thread(target=self._announce, daemon=True).start()
            while self._signal is None:
                time.sleep(0.1)
                self._restart_who_died()
            told = signal.Signals(self._signal).name
            logger.info("%s: ending; a job in training is saved and handed back", told)
        finally:
            self._end_all()

    def _await_redis(self) -> None:
        """Wait until our servers answer, or a signal arrives."""
        deadline = time.monotonic() + REDIS_START_SECONDS
        for process, server in zip(self._redis, self._servers, strict=True):
            while self._signal is None and not server.is_up():
                time.sleep(0.05)
                if process.exit_code is not None:
                    problem = f"redis-server ended at its start with exit code {process.exit_code}"
                elif time.monotonic() > deadline:
                    problem = f"redis-server did not answer within {REDIS_START_SECONDS:.0f} s"
                else:
                    continue
                raise CannotStartError(
                    f"{problem}; {server.log} ends with:\n{server.last_words()}\n"
                    f"If its append-only file is damaged, move {server.directory}/appendonly* away and start "
                    "again: the records are rebuilt from the volume"
                )

    def _restart_who_died(self) -> None:
        for process, server in zip(self._redis, self._servers, strict=True):
            if process.restart_if_dead():
                self._say_why_redis_died(server)
        for process in self._processes:
            if process.exit_code == EXIT_CODE and not process.has_run_well:
                raise CannotStartError(f"the {process.name} cannot begin with its settings; see above")
            process.restart_if_dead()

    def _say_why_redis_died(self, server: RedisServer) -> None:
        """Log the end of its log, and whether the disk is full: then its log says nothing."""
        try:
            logger.warning("%s ends with:\n%s", server.log, server.last_words())
            if shutil.disk_usage(self._volume.root).free < FULL_BYTES:
                logger.error("the volume at %s is full; make room, and all goes on", self._volume.root)
        except OSError as error:  # the disk is unavailable or failing; it may recover
            logger.error("the volume at %s cannot be read: %s", self._volume.root, error.strerror)

    def _address(self) -> list[str]:
        return ["--host", self._options.host, "--port", str(self._options.port)]

    def _workers(
        self, role: Role, label: str, count: int, environment: Mapping[str, str]
    ) -> list[GuardedProcess]:
        names = [label] if count == 1 else [f"{label}-{number}" for number in range(count)]
        return [self._python(name, ["worker", "--role", role], environment) for name in names]

    def _python(self, name: str, module: list[str], environment: Mapping[str, str]) -> GuardedProcess:
        # -P and an empty directory: never import a foreign models/ from the user's working directory
        return GuardedProcess(name, [sys.executable, "-P", "-m", *module], environment, self._runtime)

    def _heed_signal(self, number: int, frame: FrameType | None) -> None:
        """Take no lock: the interrupted thread may hold it."""
        del frame
        self._signal = number

    def _announce(self) -> None:
        for role, count in (("trainer", self._options.trainers), ("sampler", self._options.samplers)):
            if not count:
                logger.info("no %s here: it is ready when one has been started elsewhere", role)
        straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # bypass any proxy
        while self._signal is None:
            try:
                with straight.open(f"{self.url}/readyz", timeout=2):
                    break
            except (OSError, HTTPException):  # of another program, which has the port for now
                time.sleep(0.1)
        if self._options.host in REACHABLE and not self._options.allowed_hosts:
            logger.info("called by other names than localhost it refuses; DCGAN_ALLOWED_HOSTS lists more")
        say(f"ready {self.url}\n")

    def _end_all(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            if not process.end(deadline):
                logger.warning("%s did not end in time and was killed", process.name)
        for process in self._redis:
            process.end(time.monotonic())  # killed, which loses nothing: what it acknowledged is on disk
        logger.info("ended")
        fall_silent(LAST_WORDS_SECONDS)


def _parse() -> Options:
    settings = read_settings()
    parser = argparse.ArgumentParser(prog="dcgan up", description=__doc__)
    parser.add_argument("--host", default=settings.host)
    parser.add_argument("--port", type=int, default=settings.port)
    parser.add_argument("--data-root", type=Path, default=settings.data_root)
    parser.add_argument("--trainers", type=int, default=1)
    parser.add_argument("--samplers", type=int, default=1)
    given = parser.parse_args()
    if given.trainers < 0 or given.samplers < 0:
        parser.error("--trainers and --samplers count processes: 0 or more")
    if not 1 <= given.port <= 65535:
        parser.error(f"--port is {given.port}; ports are from 1 to 65535")
    return Options(
        host=given.host,
        port=given.port,
        data_root=given.data_root.absolute(),
        trainers=given.trainers,
        samplers=given.samplers,
        allowed_hosts=settings.allowed_hosts,
    )


def _refuse_undecodable(data_root: Path) -> None:
    try:
        str(data_root).encode()
    except UnicodeEncodeError:  # orders to children and facts are JSON, and hold paths
        raise CannotStartError(
            f"cannot use {data_root}: it is not valid UTF-8; choose another --data-root"
        ) from None


@contextmanager
def _using(data_root: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise CannotStartError(f"{error.filename} is not a directory; choose another --data-root") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotStartError(
            f"cannot use {data_root}: {why}; make it writable, or choose another --data-root"
        ) from error


def _claim_data_root(stack: ExitStack, data_root: Path, url: str) -> None:
    lock = stack.enter_context((data_root / "launcher.lock").open("a+b", buffering=0))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = json.loads(lock.read() or "{}")
        raise CannotStartError(
            f"{data_root} is already served by process {holder.get('pid', '?')} at {holder.get('url', '?')}; "
            "use that one, end it, or choose another --data-root"
        ) from None
    lock.truncate(0)
    lock.write(json.dumps({"pid": os.getpid(), "url": url}).encode())


def _refuse_busy_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise CannotStartError(
            f"cannot listen on {host} port {port} ({error.strerror}); choose another --host or --port"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
