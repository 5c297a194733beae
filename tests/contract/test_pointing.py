"""Aliases in Redis move atomically, only from the expected revision and only to existing generators."""

import pytest

from contract.alias import AliasRecord, Meaning
from contract.imports import forget_import
from contract.keys import ALIAS_HISTORIES, ALIASES, EPOCH, IMPORTS, LEFT_OUT
from contract.pointing import point, restore_alias, unpoint
from contract.rebuilding import leave_out
from tests.contract.records import Records

DIGEST = "sha256:" + "0" * 64
JOB_ID = "job_" + "a" * 16


def meaning(job: str | None = JOB_ID, revision: int = 1) -> Meaning:
    return Meaning(job=job, digest=DIGEST, file="f", revision=revision)


@pytest.fixture
def standing(records: Records) -> Records:
    """Records with a job and an imported generator."""
    records.submit(JOB_ID)
    records.redis.hset(IMPORTS, DIGEST, "{}")
    records.redis.set(EPOCH, "1")
    return records


def read(records: Records) -> AliasRecord | None:
    now = records.redis.hget(ALIASES, "a")
    return AliasRecord.of_texts(now, records.redis.hget(ALIAS_HISTORIES, "a")) if now else None


def test_alias_moves_only_from_the_expected_revision(standing: Records) -> None:
    first = AliasRecord(now=meaning())
    assert standing.run(point("a", first, expected=1)) == "moved"
    assert standing.run(point("a", first, expected=0)) == "pointed"
    assert standing.run(point("a", first, expected=0)) == "moved"
    second = first.moved(meaning(None))
    assert standing.run(point("a", second, expected=1)) == "pointed"
    assert read(standing) == second
    assert standing.run(unpoint("a", expected=1)) == "moved"
    assert read(standing) == second
    assert standing.run(unpoint("a", expected=2)) == "pointed"
    assert (read(standing), standing.redis.hlen(ALIAS_HISTORIES)) == (None, 0)


@pytest.mark.parametrize("job", [JOB_ID, None])
def test_alias_points_only_to_existing_generators(standing: Records, job: str | None) -> None:
    standing.redis.delete(IMPORTS)
    unknown = meaning(None if job is None else "job_" + "b" * 16)
    assert standing.run(point("a", AliasRecord(now=unknown), expected=0)) == "gone"
    assert read(standing) is None


@pytest.mark.parametrize("job", [JOB_ID, None])
def test_generator_that_was_left_out_of_a_rebuild_is_not_gone(records: Records, job: str | None) -> None:
    records.redis.set(EPOCH, "1")
    record = AliasRecord(now=meaning(job))
    records.run(leave_out(job or DIGEST))
    assert records.run(point("a", record, expected=0)) == "rebuilding"
    assert read(records) is None
    records.redis.delete(LEFT_OUT)
    assert records.run(point("a", record, expected=0)) == "gone"


def test_aliases_and_imports_cannot_change_while_records_are_rebuilt(standing: Records) -> None:
    standing.redis.delete(EPOCH)
    assert standing.run(point("a", AliasRecord(now=meaning()), expected=0)) == "rebuilding"
    assert standing.run(unpoint("a", expected=0)) == "rebuilding"
    assert standing.run(forget_import(DIGEST)) == ("rebuilding", "")


def test_restoring_does_not_overwrite_an_existing_alias(standing: Records) -> None:
    kept = AliasRecord(now=meaning(revision=7), before=(meaning(None),))
    assert standing.run(restore_alias("a", kept))
    assert not standing.run(restore_alias("a", AliasRecord(now=meaning())))
    assert read(standing) == kept


def test_import_that_an_alias_points_to_is_not_forgotten(standing: Records) -> None:
    imported = AliasRecord(now=meaning(None))
    standing.run(point("a", imported, expected=0))
    assert standing.run(forget_import(DIGEST)) == ("aliased", "a")
    standing.run(point("a", imported.moved(meaning()), expected=1))
    assert standing.run(forget_import(DIGEST)) == ("forgotten", "")
    assert standing.run(forget_import(DIGEST)) == ("missing", "")
