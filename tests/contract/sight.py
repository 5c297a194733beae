"""Everything that Redis holds about the jobs, read in one call."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from contract.job import State
from contract.keys import DIGESTS, KEYS, LEFT_OUT
from tests.contract.records import JOB, Records, WholeRecord

KEY = KEYS[JOB]
INDEXES = (KEY.all, KEY.queued, KEY.leased, KEY.servable, *(KEY.state_of + state for state in State))

NO_TTL, MISSING = -1, -2

# Replies with one JSON text, because redis-py takes several times as long to read a pipeline's replies.
READ_ALL = """
local answers = {}
for i, call in ipairs(cjson.decode(ARGV[1])) do answers[i] = redis.call(unpack(call)) end
return cjson.encode(answers)
"""


@dataclass(frozen=True)
class Sight:
    """The keys of each record, and of each index the ids in order with their scores."""

    hashes: dict[str, dict[str, str]]
    events: dict[str, list[tuple[str, dict[str, str]]]]
    checkpoints: dict[str, list[str]]
    indexes: dict[str, dict[str, str]]
    digests: dict[str, str]
    unmirrored: set[str]
    left_out: set[str]
    requests: dict[str, bool]
    """The keys that are remembered, and whether each is going to expire."""

    @cached_property
    def records(self) -> dict[str, WholeRecord]:
        return {record_id: WholeRecord.from_hash(fields) for record_id, fields in self.hashes.items()}

    def indexed(self, state: State) -> Mapping[str, str]:
        return self.indexes[KEY.state_of + state]


def look(records: Records, record_ids: Sequence[str], keys: Sequence[str] = ()) -> Sight:
    """Read everything in one round trip; with these Idempotency-Keys. What is not there is left out."""
    calls = [
        *(["HGETALL", KEY.record_of + record_id] for record_id in record_ids),
        *(["XRANGE", KEY.events_of + record_id, "-", "+"] for record_id in record_ids),
        *(["LRANGE", KEY.checkpoints_of + record_id, "0", "-1"] for record_id in record_ids),
        *(["ZRANGE", index, "0", "-1", "WITHSCORES"] for index in INDEXES),
        ["HGETALL", DIGESTS],
        ["SMEMBERS", KEY.unmirrored],
        ["SMEMBERS", LEFT_OUT],
        *(["TTL", KEY.request_of + key] for key in keys),
    ]
    answers = iter(json.loads(records.redis.eval(READ_ALL, 0, json.dumps(calls))))
    hashes, events, checkpoints = (
        {record_id: found for record_id in record_ids if (found := next(answers))} for _ in range(3)
    )
    return Sight(
        hashes={record_id: _pairs(found) for record_id, found in hashes.items()},
        events={
            record_id: [(entry_id, _pairs(entry)) for entry_id, entry in found]
            for record_id, found in events.items()
        },
        checkpoints=checkpoints,
        indexes={index: _pairs(next(answers)) for index in INDEXES},
        digests=_pairs(next(answers)),
        unmirrored=set(next(answers)),
        left_out=set(next(answers)),
        requests={key: ttl != NO_TTL for key in keys if (ttl := next(answers)) != MISSING},
    )


def moves(before: Sight, after: Sight) -> set[tuple[State, State]]:
    """The state transitions of records between two sights."""
    both = before.records.keys() & after.records.keys()
    states = {(before.records[record_id].state, after.records[record_id].state) for record_id in both}
    return {(origin, to) for origin, to in states if origin is not to}


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    """Pair up a flat list. Lua's empty table is encoded as an empty object."""
    return dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
