"""Every Redis key, channel, queue and task name. No other file spells one."""

from enum import StrEnum


class RecordKind(StrEnum):
    """The two kinds of work that share one record, one claim, one lease and one reaper."""

    JOB = "job"
    DATASET = "dataset"


class Role(StrEnum):
    """What a worker process does."""

    TRAIN = "train"
    PREPARE = "prepare"
    SAMPLE = "sample"


class RecordKeys:
    """The keys of one kind of record. Attributes that end in `_of` are prefixes: append the id or state."""

    def __init__(self, kind: RecordKind) -> None:
        self.record_of = f"dcgan:{kind}:"
        self.events_of = f"dcgan:events:{kind}:"
        self.checkpoints_of = f"dcgan:checkpoints:{kind}:"
        self.state_of = f"dcgan:{kind}s:state:"
        self.all = f"dcgan:{kind}s:all"
        self.queued = f"dcgan:{kind}s:queued"
        self.leased = f"dcgan:{kind}s:leased"
        self.lease_ms = f"dcgan:{kind}s:lease-ms"  # hash: how long the lease of each is that is leased
        self.servable = f"dcgan:{kind}s:servable"
        self.unmirrored = f"dcgan:{kind}s:unmirrored"
        self.users_of = f"dcgan:{kind}s:users:"
        self.request_of = f"dcgan:{kind}s:request:"  # + an Idempotency-Key: the record that it made
        self.withdrawn_of = f"dcgan:{kind}s:withdrawn:"  # + an id that is not to be queued any more
        self.served = (
            f"dcgan:{kind}s:served"  # sorted set: submitter by when a record of theirs was last claimed
        )
        self.turns = f"dcgan:{kind}s:turns"  # when the order of the queue changed last

    def names(self) -> dict[str, str]:
        """All of them, plus the keys that no kind owns: what the scripts are given."""
        return {
            **vars(self),
            "channel": CHANGES,
            "epoch": EPOCH,
            "rebuilding": REBUILDING,
            "digests": DIGESTS,
            "aliases": ALIASES,
            "alias_histories": ALIAS_HISTORIES,
            "imports": IMPORTS,
            "left_out": LEFT_OUT,
            "workers": WORKERS,
            "worker_facts": WORKER_FACTS,
            "renderer": RENDERER,
        }


class JobKeys(RecordKeys):
    """Those of jobs, of whose ends somebody is told."""

    def __init__(self) -> None:
        super().__init__(RecordKind.JOB)
        self.deliveries = "dcgan:jobs:deliveries"  # sorted set: "{job}:{endpoint}" by when it is to be told


JOB_KEYS = JobKeys()
KEYS = {RecordKind.JOB: JOB_KEYS, RecordKind.DATASET: RecordKeys(RecordKind.DATASET)}

CHANGES = "dcgan:changes"  # channel: "{record key}:{revision}" for every event; revision 0: forgotten
EPOCH = "dcgan:epoch"  # set once the records stand; missing means that Redis was emptied
REBUILDING = "dcgan:rebuilding"  # lock of the process that re-creates them from the volume
DIGESTS = "dcgan:digests"  # hash: generator digest -> where it lies
LEFT_OUT = "dcgan:left-out"  # set: records whose files a rebuild could not read
ALIASES = "dcgan:aliases"  # hash: alias -> what it means now
ALIAS_HISTORIES = "dcgan:aliases:histories"  # hash: alias -> what it meant before
IMPORTS = "dcgan:imports"  # hash: digest of an imported generator -> when it came, and its size
WORKERS = "dcgan:workers"  # sorted set: worker name by the time its heartbeat lapses
WORKER_FACTS = "dcgan:workers:facts"  # hash: worker name -> what it says of itself
RENDERER = "dcgan:renderer"  # the one renderer that is active in this deployment

SAMPLES_WAITING = "dcgan:samples:waiting"
SAMPLES_WAITING_FOR = "dcgan:samples:waiting:"  # + a sampler: what is asked of that one; lapses by itself
SAMPLES_REPLIES_OF = "dcgan:samples:replies:"  # + the gateway that asked

ESTIMATES_WAITING = "dcgan:estimates:waiting"  # list: what a gateway asks the trainers; lapses by itself
ESTIMATE_REPLY_OF = "dcgan:estimates:reply:"  # + the id of the ask; lapses by itself

WORKSHOP_WAITING = "dcgan:workshop:waiting"  # list: what is to be done with generators; lapses by itself
WORKSHOP_REPLY_OF = "dcgan:workshop:reply:"  # + the id of the ask; lapses by itself

CELERY_PREFIX = "dcgan:celery:"
TASK_OF_ROLE = {Role.TRAIN: "dcgan.train", Role.PREPARE: "dcgan.prepare"}
ROLE_OF_KIND = {RecordKind.JOB: Role.TRAIN, RecordKind.DATASET: Role.PREPARE}
KIND_OF_ROLE = {role: kind for kind, role in ROLE_OF_KIND.items()}
