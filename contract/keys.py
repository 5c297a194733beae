"""Every Redis key, channel, queue and task name. No other file contains one."""

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
        self.lease_ms = f"dcgan:{kind}s:lease-ms"  # hash: id -> length of its lease
        self.servable = f"dcgan:{kind}s:servable"
        self.unmirrored = f"dcgan:{kind}s:unmirrored"
        self.users_of = f"dcgan:{kind}s:users:"
        self.request_of = f"dcgan:{kind}s:request:"  # + an Idempotency-Key: the record that it created
        self.withdrawn_of = f"dcgan:{kind}s:withdrawn:"  # + an id that must not be queued any more
        self.served = f"dcgan:{kind}s:served"  # sorted set: submitter by the time of its last claim
        self.turns = f"dcgan:{kind}s:turns"  # when the order of the queue last changed

    def names(self) -> dict[str, str]:
        """All of these, plus the keys shared by both kinds, as passed to the script."""
        return {
            **vars(self),
            "channel": CHANGES,
            "epoch": EPOCH,
            "epochs": EPOCHS,
            "rebuilding": REBUILDING,
            "digests": DIGESTS,
            "aliases": ALIASES,
            "alias_histories": ALIAS_HISTORIES,
            "imports": IMPORTS,
            "left_out": LEFT_OUT,
            "workers": WORKERS,
            "workers_since": WORKERS_SINCE,
            "worker_facts": WORKER_FACTS,
            "renderer": RENDERER,
        }


class JobKeys(RecordKeys):
    """The keys of jobs, whose ends are reported to webhooks."""

    def __init__(self) -> None:
        super().__init__(RecordKind.JOB)
        self.deliveries = "dcgan:jobs:deliveries"  # sorted set: "{job}:{endpoint}" by when it is due
        self.deliveries_since = "dcgan:jobs:deliveries:since"  # the same by when that was determined


JOB_KEYS = JobKeys()
KEYS = {RecordKind.JOB: JOB_KEYS, RecordKind.DATASET: RecordKeys(RecordKind.DATASET)}

EVERYTHING = "dcgan:*"  # the pattern of all keys
CHANGES = "dcgan:changes"  # channel: "{record key}:{revision}" for every event; revision 0: forgotten
EPOCH = "dcgan:epoch"  # set once the records stand: the name of their rebuild; missing: Redis was emptied
EPOCHS = "dcgan:epochs"  # set: every epoch that the volume has had, as far as this server knows
REBUILDING = "dcgan:rebuilding"  # lock of the process that re-creates them from the volume
DIGESTS = "dcgan:digests"  # hash: generator digest -> its job
LEFT_OUT = "dcgan:left-out:names"  # set: records, aliases and imports that a rebuild could not restore
ALIASES = "dcgan:aliases"  # hash: alias -> its current meaning
ALIAS_HISTORIES = "dcgan:aliases:histories"  # hash: alias -> its earlier meanings
IMPORTS = "dcgan:imports"  # hash: digest of an imported generator -> when it was imported, and its size
WORKERS = "dcgan:workers"  # sorted set: worker name by the time its presence expires
WORKERS_SINCE = "dcgan:workers:since"  # the same by when it was last heard
WORKER_FACTS = "dcgan:workers:facts"  # hash: worker name -> what it reports about itself
RENDERER = "dcgan:renderer"  # the one renderer that is active in this deployment

SAMPLES_WAITING = "dcgan:samples:waiting"
SAMPLES_WAITING_FOR = "dcgan:samples:waiting:"  # + a sampler: requests to that one only; expires
SAMPLES_REPLIES_OF = "dcgan:samples:replies:"  # + the gateway that sent the request
SAMPLES_WITHDRAWN_OF = "dcgan:samples:withdrawn:"  # + the id of a request that was taken; expires

ESTIMATES_WAITING = "dcgan:estimates:waiting"  # list: gateways' requests to the trainers; expires
ESTIMATE_REPLY_OF = "dcgan:estimates:reply:"  # + the id of the ask; expires

WORKSHOP_WAITING = "dcgan:workshop:waiting"  # list: work to do on generators; expires
WORKSHOP_REPLY_OF = "dcgan:workshop:reply:"  # + the id of the ask; expires

CELERY_PREFIX = "dcgan:celery:"
TASK_OF_ROLE = {Role.TRAIN: "dcgan.train", Role.PREPARE: "dcgan.prepare"}
ROLE_OF_KIND = {RecordKind.JOB: Role.TRAIN, RecordKind.DATASET: Role.PREPARE}
KIND_OF_ROLE = {role: kind for kind, role in ROLE_OF_KIND.items()}
