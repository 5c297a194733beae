"""Our own redis-server keeps its files in its directory, whatever that is called."""

import subprocess
from pathlib import Path

import pytest
import redis

from service.embedded_redis import durable_server
from tests.conftest import is_up_within


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "new\nline", "it's ü # 50 %s"])
def test_files_are_in_a_directory_of_any_name(tmp_path: Path, name: str) -> None:
    server = durable_server(tmp_path / name)
    with subprocess.Popen(server.command, cwd=server.directory) as process:
        try:
            assert is_up_within(60, server)
            redis.Redis.from_url(server.url).set("kept", "on disk")
        finally:
            process.kill()
    assert any(b"on disk" in file.read_bytes() for file in server.directory.rglob("appendonly.aof*"))
    assert server.log.exists()
