"""After Redis was emptied, aliases and imported generators are restored, whatever else lies beside them."""

import pytest
import redis

from contract.alias import AliasRecord, Meaning
from contract.durable import write_durably
from contract.imports import Import, forget_import, restore_import
from contract.keys import ALIAS_HISTORIES, ALIASES, IMPORTS, LEFT_OUT
from contract.pointing import meanings, point, restore_alias, unpoint
from contract.volume import Volume
from worker.rebuild import Rebuilder
from worker.store import Store

DIGEST = "sha256:" + "1" * 64
RECORD = AliasRecord(now=Meaning(job=None, digest=DIGEST, file="f", revision=2))


@pytest.fixture
def damaged(rebuilder: Rebuilder, volume: Volume) -> Volume:
    """A volume with an alias and an import, neither of which the rebuild could read."""
    write_durably(volume.alias("live"), RECORD.as_file()[:-9])
    volume.imported(DIGEST).symlink_to(volume.root / "not mounted")
    assert rebuilder.rebuild_if_lost()
    return volume


def repair(volume: Volume) -> None:
    (volume.root / "not mounted").write_bytes(b"weights")
    write_durably(volume.alias("live"), RECORD.as_file())


def test_aliases_and_imports_are_restored_despite_damaged_files_beside_them(
    rebuilder: Rebuilder, volume: Volume, client: redis.Redis
) -> None:
    now = Meaning(job=None, digest=DIGEST, file="f", revision=2)
    record = AliasRecord(now=now, before=(now.model_copy(update={"revision": 1}),))
    for name, content in (("a", b"{"), ("b", record.as_file()), ("c", b'{"job": null, "digest": "x"}')):
        write_durably(volume.alias(name), content)
    write_durably(volume.imported(DIGEST), b"weights")
    write_durably(volume.incoming_imports / "2.safetensors", b"half")
    for stray in ("b 2", "._b", "latest"):
        write_durably(volume.alias(stray), record.as_file())
    for stray in (f"._{DIGEST[7:]}", f"{DIGEST[7:]} 2"):
        write_durably(volume.imported(stray), b"weights")
    assert rebuilder.rebuild_if_lost()
    assert client.hkeys(ALIASES) == ["b"]
    assert client.hkeys(IMPORTS) == [DIGEST]
    found = AliasRecord.of_texts(str(client.hget(ALIASES, "b")), str(client.hget(ALIAS_HISTORIES, "b")))
    assert found == record


@pytest.mark.usefixtures("damaged")
def test_unreadable_ones_are_left_out_until_they_can_be_read(
    store: Store, rebuilder: Rebuilder, volume: Volume, client: redis.Redis
) -> None:
    rebuilder.restore_left_out()
    assert store.left_out() == ["live", DIGEST]
    assert not client.exists(ALIASES, IMPORTS)
    repair(volume)
    rebuilder.restore_left_out()
    assert store.run(meanings("live")) == RECORD
    assert client.hkeys(IMPORTS) == [DIGEST]
    assert not client.exists(LEFT_OUT)


@pytest.mark.usefixtures("damaged")
def test_unreadable_ones_whose_files_were_removed_are_forgotten(
    rebuilder: Rebuilder, volume: Volume, client: redis.Redis
) -> None:
    volume.alias("live").unlink()
    volume.imported(DIGEST).unlink()
    rebuilder.restore_left_out()
    assert not client.exists(ALIASES, IMPORTS, LEFT_OUT)


@pytest.mark.usefixtures("damaged")
def test_unreadable_ones_that_were_replaced_or_deleted_while_they_are_read_do_not_return(
    store: Store, volume: Volume, client: redis.Redis
) -> None:
    client.hset(IMPORTS, DIGEST, "")
    assert store.run(point("live", RECORD, expected=0)) == "pointed"
    assert store.run(unpoint("live", expected=2)) == "pointed"
    assert store.run(forget_import(DIGEST))[0] == "forgotten"
    repair(volume)
    for alias_or_import in (
        restore_alias("live", RECORD, is_left_out=True),
        restore_import(DIGEST, Import(bytes=7, imported_ms=1), is_left_out=True),
    ):
        assert not store.run(alias_or_import)
    assert not client.exists(ALIASES, IMPORTS)
