"""The order of the queue: priorities, fairness between submitters, and accurate positions."""

import itertools
from random import Random

import pytest

from contract import owning
from contract.forgetting import forget_job
from contract.job import State
from contract.keys import KEYS, RecordKind
from contract.submission import Priority, Submission
from contract.submitting import submit
from contract.turns import turns
from tests.contract.record_model import RecordModel
from tests.contract.records import JOB, LONG, Records


def _submit(
    records: Records, record_id: str, submitter: str = "ann", *, devices: int = 1, **said: Priority
) -> None:
    submission = Submission(submitter=submitter, **said)
    command = submit(JOB, record_id, "{}", devices=devices, submission=submission)
    assert records.run(command)[0] == "submitted"


def _places(records: Records) -> list[str]:
    return list(records.run(turns(JOB)).ids)


def test_hundred_jobs_of_one_submitter_do_not_delay_another_submitters_job(records: Records) -> None:
    for number in range(100):
        _submit(records, f"job_ann{number:03d}", "ann")
    records.claim("w0")
    _submit(records, "job_bob", "bob")
    assert _places(records)[0] == "job_bob"
    assert records.claim("w1").id == "job_bob"
    assert records.claim("w2").id == "job_ann001"


def test_submitters_take_turns_on_one_worker(records: Records) -> None:
    for number, submitter in itertools.product(range(2), ("ann", "bob", "cid")):
        _submit(records, f"job_{submitter}{number}", submitter)
    foretold = _places(records)
    served = []
    for _ in range(6):
        lease = records.claim()
        served.append(lease.id)
        records.run(owning.leave(lease, State.SUCCEEDED))
    assert served == foretold == ["job_ann0", "job_bob0", "job_cid0", "job_ann1", "job_bob1", "job_cid1"]


def test_submitter_with_fewer_running_jobs_goes_first(records: Records) -> None:
    for number in range(3):
        _submit(records, f"job_ann{number}", "ann")
    for worker in ("w0", "w1"):
        records.claim(worker)
    _submit(records, "job_bob0", "bob")
    _submit(records, "job_bob1", "bob")
    assert [records.claim(worker).id for worker in ("w2", "w3", "w4")] == ["job_bob0", "job_bob1", "job_ann2"]


def test_order_of_many_submitters_is_that_of_the_model(records: Records) -> None:
    random, model = Random(1), RecordModel(max_deaths=3)
    for number in range(120):
        record_id, submitter = f"job_{number}", f"name{random.randrange(40)}"
        devices, priority = random.choice((1, 2)), random.choice(list(Priority))
        _submit(records, record_id, submitter, devices=devices, priority=priority)
        model.submit(record_id, devices, submitter, priority, key=None)
    for number in range(30):
        owner, devices = f"w{number}", random.choice((1, 2))
        ticket = model.claim(owner, devices)
        assert ticket is not None
        assert records.claim(owner, devices=devices).id == ticket.id
        assert _places(records) == model.turns()


def test_many_submitters_cost_hardly_more_than_one(records: Records) -> None:
    def seconds(submitters: int) -> float:
        records.redis.flushall()
        for number in range(1000):
            _submit(records, f"job_{number}", f"name{number % submitters}", devices=2)
        return min(_seconds_of_a_look_and_a_vain_claim(records) for _ in range(5))

    assert seconds(submitters=1000) < 30 * seconds(submitters=1)  # some 3; a search per turn took 200


def _seconds_of_a_look_and_a_vain_claim(records: Records) -> float:
    before = _seconds_of_redis(records)
    assert len(_places(records)) == 1000
    assert records.run(owning.claim(JOB, "w0", lease_seconds=LONG)) is None
    return _seconds_of_redis(records) - before


def _seconds_of_redis(records: Records) -> float:
    """The CPU time of the thread that runs commands: unlike the clock's, it leaves other programs out."""
    used = records.redis.info("cpu")
    return float(used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"])


def test_priority_precedes_fairness_and_never_preempts_a_running_job(records: Records) -> None:
    _submit(records, "job_low", "ann", priority=Priority.LOW)
    _submit(records, "job_normal", "bob")
    running = records.claim()
    _submit(records, "job_high", "bob", priority=Priority.HIGH)
    assert running.id == "job_normal"
    assert records.read("job_normal").state is State.RUNNING
    assert _places(records) == ["job_high", "job_low"]


def test_job_that_fits_is_claimed_past_many_that_do_not(records: Records) -> None:
    for number in range(300):
        records.submit(f"job_big{number}", devices=4)
    records.submit("job_small")
    assert records.claim().id == "job_small"


def test_requeued_job_keeps_its_place_among_its_submitters_jobs(records: Records) -> None:
    _submit(records, "job_first")
    _submit(records, "job_second")
    records.run(owning.leave(records.claim(), State.QUEUED))
    assert _places(records) == ["job_first", "job_second"]


@pytest.mark.parametrize("act", ["submit", "claim", "leave", "forget"])
def test_every_change_of_the_order_changes_its_version(records: Records, act: str) -> None:
    _submit(records, "job_a")
    if act in ("leave", "forget"):
        lease = records.claim()
    if act == "forget":
        records.run(owning.leave(lease, State.SUCCEEDED))
    before = records.run(turns(JOB)).version
    match act:
        case "submit":
            _submit(records, "job_b")
        case "claim":
            records.claim()
        case "leave":
            records.run(owning.leave(lease, State.QUEUED))
        case "forget":
            records.run(forget_job("job_a"))
    after = records.run(turns(JOB)).version
    assert after != before
    assert after == records.redis.get(KEYS[JOB].turns)


def test_datasets_are_prepared_first_come_first_served(records: Records) -> None:
    for name in ("ds_a", "ds_b"):
        records.run(submit(RecordKind.DATASET, name, "{}"))
    assert list(records.run(turns(RecordKind.DATASET)).ids) == ["ds_a", "ds_b"]


def test_job_set_aside_by_an_owner_is_left_to_others_and_keeps_its_place(records: Records) -> None:
    _submit(records, "job_ann0")
    _submit(records, "job_ann1")
    claim = records.run(owning.claim(JOB, "w0", lease_seconds=60, set_aside=["job_ann0"]))
    assert claim is not None
    assert claim.record.id == "job_ann1"
    assert records.run(owning.claim(JOB, "w1", lease_seconds=60, set_aside=["job_ann0"])) is None
    assert records.claim("w1").id == "job_ann0"
