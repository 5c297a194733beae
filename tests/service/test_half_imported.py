"""An import or removal of a generator that a killed gateway began is completed or reverted by the next."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from contract.durable import write_durably
from contract.identifiers import IMPORTED
from contract.keys import EPOCH, IMPORTS
from contract.sampling import CheckpointPlace
from contract.volume import Volume, imported_name
from contract.workshop import exports
from service import half_imported, importing, settling
from service.gateway import Gateway
from service.settings import Settings
from tests.service.deployment import Deployment
from tests.service.playing import Trainer
from tests.service.problems import refused
from tests.service.sending import checkpoint, send
from tests.service.serving import serve
from tests.service.waiting import until

Restart = Callable[[], AbstractContextManager[str]]
CONTENT = checkpoint(images_seen=40)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
OTHER = "sha256:" + "0" * 64
PROGRAMS = CheckpointPlace(job=IMPORTED, file=imported_name(DIGEST))


@pytest.fixture
def there(elsewhere: Callable[..., Deployment]) -> Iterator[Deployment]:
    """A deployment with a trainer."""
    deployment = elsewhere()
    trainer = Trainer(deployment.worker.url, deployment.worker.volume)
    trainer.start()
    yield deployment
    trainer.stop()


@pytest.fixture
def restarted(there: Deployment) -> Restart:
    """Starts the next gateway."""
    return lambda: serve(Settings(data_root=there.worker.volume.root, redis_url=there.worker.url))


@pytest.fixture
def killed_at(
    there: Deployment, cut: Callable[[str, bool], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, bool, Callable[[], object]], None]:
    """Kills the gateway in a request, at this command: before Redis gets it, or before it replies."""

    def kill(command: str, is_heard: bool, request: Callable[[], object]) -> None:
        async def never(*_: object) -> bool:
            return False

        with monkeypatch.context() as dead:
            dead.setattr("service.half_imported._settle", never)
            cut(command, is_heard)
            request()
            there.stop()

    return kill


def _notes(there: Deployment) -> list[str]:
    return list(there.worker.volume.all_notes_of_imports())


@pytest.mark.parametrize("is_heard", [False, True])
def test_import_is_removed_unless_redis_has_recorded_it(
    there: Deployment,
    restarted: Restart,
    killed_at: Callable[[str, bool, Callable[[], object]], None],
    is_heard: bool,
) -> None:
    killed_at("add_import", is_heard, lambda: send(there.client, CONTENT))
    assert there.worker.volume.imported(DIGEST).exists()
    with restarted():
        until(lambda: not _notes(there))
    assert there.worker.volume.imported(DIGEST).exists() == is_heard


@pytest.mark.parametrize("is_heard", [False, True])
def test_removal_is_completed_if_redis_has_recorded_it(
    there: Deployment,
    restarted: Restart,
    killed_at: Callable[[str, bool, Callable[[], object]], None],
    is_heard: bool,
) -> None:
    send(there.client, CONTENT).raise_for_status()
    there.client.get(f"/models/{DIGEST}/export?format=onnx").raise_for_status()
    killed_at("forget_import", is_heard, lambda: there.client.delete(f"/models/{DIGEST}"))
    with restarted():
        until(lambda: not _notes(there))
    left = [*there.worker.volume.imports.rglob(f"{DIGEST[7:]}*")]
    assert bool(left) == (not is_heard)


def test_import_is_kept_until_the_records_are_rebuilt_and_then_belongs_to_them(
    there: Deployment,
    killed_at: Callable[[str, bool, Callable[[], object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed_at("add_import", True, lambda: send(there.client, CONTENT))
    there.worker.redis.flushdb()
    volume, sleep = there.worker.volume, asyncio.sleep

    async def rebuild_meanwhile(seconds: float) -> None:
        if seconds == settling.ROUND_SECONDS:
            assert there.worker.rebuilder.rebuild_if_lost()
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", rebuild_meanwhile)
    asyncio.run(half_imported.settle(Gateway(Settings(data_root=volume.root, redis_url=there.worker.url))))
    assert not _notes(there)
    assert volume.imported(DIGEST).exists()


@pytest.mark.parametrize("is_rebuilt", [False, True])
def test_generator_that_a_rebuild_found_just_before_its_file_was_removed_is_forgotten(
    there: Deployment, monkeypatch: pytest.MonkeyPatch, *, is_rebuilt: bool
) -> None:
    send(there.client, CONTENT).raise_for_status()
    redis, remove = there.worker.redis, half_imported.remove

    def rebuild_before(volume: Volume, digest: str) -> bool:
        redis.flushdb()
        assert there.worker.rebuilder.rebuild_if_lost()
        if not is_rebuilt:
            redis.rename(EPOCH, "not yet")
        return remove(volume, digest)

    monkeypatch.setattr(importing, "remove", rebuild_before)
    answer = there.client.delete(f"/models/{DIGEST}")
    if is_rebuilt:
        assert answer.status_code == 204
    else:
        refused(answer, 503, "store_unavailable")
        redis.rename("not yet", EPOCH)
        until(lambda: not _notes(there))
    refused(there.client.get(f"/models/{DIGEST}"), 404, "model_not_found")


def test_generator_whose_import_fails_again_and_again_is_settled_once(
    there: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.settling.ROUND_SECONDS", 0.05)
    worker = there.worker

    async def fail_during_a_rebuild() -> None:
        gateway = Gateway(Settings(data_root=worker.volume.root, redis_url=worker.url))
        async with asyncio.timeout(60), gateway.running():
            before = set(gateway.background.tasks)
            worker.redis.rename(EPOCH, "not yet")
            for _ in range(3):
                with pytest.raises(ConnectionError, match="cut"):
                    async with half_imported.noted(gateway, DIGEST):
                        raise ConnectionError("cut")
            (settling,) = gateway.background.tasks - before
            worker.redis.rename("not yet", EPOCH)
            await settling

    asyncio.run(fail_during_a_rebuild())
    assert not _notes(there)


def test_generator_that_redis_does_not_know_is_kept_if_no_note_tells_of_it(
    there: Deployment, restarted: Restart
) -> None:
    """An operator may have restored it from a backup: the next rebuild will find it."""
    send(there.client, CONTENT).raise_for_status()
    there.stop()
    there.worker.redis.hdel(IMPORTS, DIGEST)
    volume = there.worker.volume
    write_durably(volume.note_of_import(OTHER), b"")
    with restarted():
        until(lambda: not _notes(there))
    assert volume.imported(DIGEST).exists()


def test_programs_whose_generator_is_gone_are_removed(there: Deployment, restarted: Restart) -> None:
    send(there.client, CONTENT).raise_for_status()
    there.client.get(f"/models/{DIGEST}/export?format=onnx").raise_for_status()
    there.stop()
    programs = exports(there.worker.volume, PROGRAMS)
    kept = {path.name for path in programs.iterdir()}
    for name in (
        f"{OTHER[7:]}.pt2",
        f"{OTHER[7:]}.pt2.sha256",
        f".{OTHER[7:]}.pt2.0a1b2c3d.tmp",
        "README.md",
    ):
        (programs / name).touch()
    with restarted():
        until(lambda: {path.name for path in programs.iterdir()} == kept | {"README.md"})
