"""The analysis of the soak detects what it must find."""

from pathlib import Path

from tests.system.findings import Findings, Training
from tests.system.inside.witness import Act

JOB = "job_0123456789abcdef"
CLAIMED = (Act("claimed", JOB, 1, began=0.0, ended=0.1), Act("claimed", JOB, 2, began=2.0, ended=2.1))


def findings(folder: Path, *acts: Act) -> Findings:
    (folder / "1234").write_text("".join(act.line() for act in acts) + '{"kind": "torn')
    return Findings(folder)


def trained(token: int, images_seen: int, ended: float) -> Act:
    return Act("trained", JOB, token, ended - 0.5, ended, images_seen=images_seen, images=10)


def heard(images_seen: int, ended: float, command: str = "beat") -> Act:
    return Act("accepted", JOB, 1, ended - 0.1, ended, command, images_seen)


def test_command_accepted_under_an_old_token_after_a_newer_claim_is_a_double(tmp_path: Path) -> None:
    late = Act("accepted", JOB, 1, began=2.2, ended=2.3, command="report")
    assert len(findings(tmp_path, *CLAIMED, late).doubled(JOB)) == 1


def test_command_in_flight_during_the_next_claim_is_not_a_double(tmp_path: Path) -> None:
    early = Act("accepted", JOB, 1, began=2.05, ended=2.3, command="report")
    assert findings(tmp_path, *CLAIMED, early).doubled(JOB) == []


def test_facts_written_after_those_of_a_newer_owner_are_a_double(tmp_path: Path) -> None:
    newer, older = Act("stated", JOB, 2, began=1.0, ended=1.1), Act("stated", JOB, 1, began=1.2, ended=1.3)
    assert len(findings(tmp_path, newer, older).doubled(JOB)) == 1
    assert findings(tmp_path, older).doubled(JOB) == []


def test_second_success_is_a_double(tmp_path: Path) -> None:
    assert findings(tmp_path, heard(10, 1, "leave succeeded")).doubled(JOB) == []
    ends = (heard(10, 1, "leave succeeded"), heard(10, 2, "leave succeeded"))
    assert len(findings(tmp_path, *ends).doubled(JOB)) == 1


def test_batches_that_the_job_had_already_seen_count_as_trained_again(tmp_path: Path) -> None:
    first = [trained(1, images_seen, ended=images_seen / 10) for images_seen in (10, 20, 30)]
    resumed = [trained(2, images_seen, ended=3 + images_seen / 10) for images_seen in (20, 30, 40)]
    assert findings(tmp_path, *first, *resumed).training([JOB]) == Training(60, 3.0, 20, 1.0)


def test_job_has_recovered_when_it_is_further_than_before_the_fault(tmp_path: Path) -> None:
    found = findings(tmp_path, heard(10, 1), trained(1, 30, 2), heard(20, 4), heard(30, 5), heard(40, 6))
    assert found.recovery_seconds(JOB, struck_at=2.5) == 3.5
    assert found.recovery_seconds(JOB, struck_at=7) is None
