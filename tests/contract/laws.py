"""Invariants of all records, checked on the state before and after every step."""

import json
from itertools import pairwise

from contract.events import EventType
from contract.job import TRANSITIONS, State
from tests.contract.sight import KEY, Sight, moves


def states_change_by_allowed_transitions(before: Sight, after: Sight) -> None:
    assert all(to in TRANSITIONS[origin] for origin, to in moves(before, after))


def told_states_follow_each_other(before: Sight, after: Sight) -> None:
    for record in after.records.values():
        was = before.records.get(record.id)
        states = [was.state] if was else []
        for _, entry in after.events[record.id][len(before.events.get(record.id, [])) :]:
            said = json.loads(entry["data"])
            if entry["type"] == EventType.STATE and "want" not in said:
                states.append(State(said["state"]))
        assert all(to in TRANSITIONS[origin] for origin, to in pairwise(states))
        assert states[-1] is record.state


def record_is_in_the_index_of_its_state_alone(before: Sight, after: Sight) -> None:
    for state in State:
        in_state = {record.id for record in after.records.values() if record.state is state}
        assert set(after.indexed(state)) == in_state
    assert set(after.indexes[KEY.queued]) == set(after.indexed(State.QUEUED))
    assert set(after.indexes[KEY.leased]) == set(after.indexed(State.RUNNING))


def what_runs_has_a_lease_and_each_owner_has_one(before: Sight, after: Sight) -> None:
    for record in after.records.values():
        assert (record.state is State.RUNNING) == (record.owner is not None)
        assert after.hashes[record.id].get("lease_until_ms") == after.indexes[KEY.leased].get(record.id)
    owners = [record.owner for record in after.records.values() if record.owner]
    assert len(owners) == len(set(owners))


def token_only_grows_and_death_takes_it_away(before: Sight, after: Sight) -> None:
    for record_id in before.hashes.keys() & after.hashes.keys():
        was, is_now = before.records[record_id], after.records[record_id]
        assert is_now.token >= was.token
        if is_now.deaths > was.deaths or is_now.attempt > was.attempt:
            assert is_now.token > was.token


def revision_counts_the_events_and_none_changes(before: Sight, after: Sight) -> None:
    for record in after.records.values():
        told, known = after.events[record.id], before.events.get(record.id, [])
        assert [entry_id for entry_id, _ in told] == [f"{n}-0" for n in range(1, record.revision + 1)]
        assert told[: len(known)] == known


def times_are_those_of_the_state(before: Sight, after: Sight) -> None:
    for record in after.records.values():
        assert record.state.is_terminal == (record.finished_ms is not None)
        assert (record.attempt > 0) == (record.started_ms is not None)


LAWS = (
    states_change_by_allowed_transitions,
    told_states_follow_each_other,
    record_is_in_the_index_of_its_state_alone,
    what_runs_has_a_lease_and_each_owner_has_one,
    token_only_grows_and_death_takes_it_away,
    revision_counts_the_events_and_none_changes,
    times_are_those_of_the_state,
)
