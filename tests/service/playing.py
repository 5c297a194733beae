"""Players of a gateway's workers, with the contract's own commands and wire format."""

import hashlib
import threading
from typing import TypeVar

import redis

from contract.command import Command
from contract.dataset import Manifest
from contract.durable import write_durably
from contract.errors import ErrorCode
from contract.job import CheckpointFact, Failure, State
from contract.keys import (
    SAMPLES_REPLIES_OF,
    SAMPLES_WAITING,
    SAMPLES_WAITING_FOR,
    WORKSHOP_REPLY_OF,
    WORKSHOP_WAITING,
    RecordKind,
    Role,
)
from contract.owning import Lease, claim, leave, report
from contract.sampling import CheckpointPlace
from contract.script import script
from contract.volume import Volume
from contract.wire import Answer, Ask, Stages
from contract.workers import goodbye, hello
from contract.workshop import WorkshopAnswer, WorkshopAsk, checksum, export
from worker.rebuild import Rebuilder
from worker.store import Store as WorkersStore

T = TypeVar("T")

STAGES = Stages(batch=1, forward=2, encode=3, each=0.5)
GONE = (ErrorCode.CHECKPOINT_UNREADABLE, "There is no such file.", "")
UNREADABLE = Failure(code=ErrorCode.CHECKPOINT_UNREADABLE, detail="It is damaged.")


class Worker:
    """Plays the workers: claims records, reports facts and leaves, with the contract's own commands."""

    def __init__(self, url: str, volume: Volume) -> None:
        self.url = url
        self.redis = redis.Redis.from_url(url, decode_responses=True, socket_timeout=60)
        self.volume = volume
        volume.lay_out()
        self.rebuilder = Rebuilder(WorkersStore(url), volume, "w0", lease_seconds=60)
        self._script = self.redis.register_script(script())

    def run(self, command: Command[T]) -> T:
        return command.parse(self._script(args=command.arguments))

    def hello(self, *roles: Role) -> None:
        """Register a worker of each role as alive for a minute."""
        for role in roles:
            name = f"{role}-1"
            facts: dict[str, object] = {"role": role}
            if role is Role.SAMPLE:
                facts |= {"name": name, "active": True, "renderer": "r1"}
            self.run(hello(name, facts, 60))

    def goodbye(self, role: Role) -> None:
        self.run(goodbye(f"{role}-1"))

    def claim(self, kind: RecordKind = RecordKind.JOB, seconds: float = 60) -> Lease:
        claimed = self.run(claim(kind, "worker-1", lease_seconds=seconds))
        assert claimed is not None
        return Lease(kind, claimed.record.id, claimed.token, seconds)

    def prepare(self, images: int = 10, side: int = 32) -> str:
        """Prepare the next dataset in the queue, and return its id."""
        lease = self.claim(RecordKind.DATASET)
        manifest = Manifest(
            id=lease.id,
            images=images,
            held_out_images=1,
            rejected=({"name": "broken.png", "reason": "truncated"},),
            rejected_images=1,
            channels=1,
            median_width=side,
            median_height=side + 4,
            content_hash="0" * 64,
            files=("a.png",),
            hashes=("0" * 64,),
        )
        write_durably(self.volume.manifest(lease.id), manifest.model_dump_json().encode())
        assert self.run(leave(lease, State.SUCCEEDED))
        return lease.id

    def checkpoint(self, lease: Lease, images_seen: int = 100) -> CheckpointFact:
        """Report a checkpoint, as the best one so far."""
        digest = f"sha256:{abs(hash((lease.id, images_seen))):064x}"
        fact = CheckpointFact(
            file=f"{images_seen}.safetensors", digest=digest, images_seen=images_seen, bytes=9
        )
        text = fact.model_dump_json()
        assert self.run(report(lease, fact.images_seen, fields={"checkpoint": text}, checkpoint=fact))
        return fact


class Sampler(threading.Thread):
    """Plays a sampler: each picture is just the canonical text of its spec."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.asks: list[Ask] = []
        self.held = threading.Event()
        self._taking = threading.Lock()
        self.refusal: tuple[ErrorCode, str, str] | None = None
        self.gone: set[CheckpointPlace] = set()
        self._redis = redis.Redis.from_url(url, socket_timeout=60)
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            with self._taking:
                frame = None if self.held.is_set() else self._next()
            if frame is None:
                self._ended.wait(0.002)
                continue
            assert isinstance(frame, bytes)
            ask = Ask.unpack(frame)
            self.asks.append(ask)
            is_gone = ask.place in self.gone
            code, detail, field = GONE if is_gone else self.refusal or (None, "", "")
            content, stages = (b"", None) if code else (ask.spec.canonical().encode(), STAGES)
            answer = Answer(ask.id, "r1", content, code, detail, stages, field)
            self._redis.rpush(SAMPLES_REPLIES_OF + ask.gateway, answer.pack())

    def _next(self) -> object:
        return self._redis.lpop(SAMPLES_WAITING_FOR + "sample-1") or self._redis.lpop(SAMPLES_WAITING)

    def hold(self) -> None:
        """Take no more requests until `held` is cleared."""
        with self._taking:
            self.held.set()

    def stop(self) -> None:
        self._ended.set()
        self.join()


class Trainer(threading.Thread):
    """Plays the workshop of a trainer."""

    def __init__(self, url: str, volume: Volume) -> None:
        super().__init__(daemon=True)
        self.asks: list[WorkshopAsk] = []
        self.refusal: Failure | None = None
        self.loses_what_it_makes = False
        self.notes_checksums = True
        self.unreadable: set[CheckpointPlace] = set()
        self._volume = volume
        self._redis = redis.Redis.from_url(url, decode_responses=True, socket_timeout=60)
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.005):
            frame = self._redis.lpop(WORKSHOP_WAITING)
            if isinstance(frame, str):
                ask = WorkshopAsk.model_validate_json(frame)
                self.asks.append(ask)
                assert self._volume.checkpoint(ask.place.job, ask.place.file).exists()
                refusal = UNREADABLE if ask.place in self.unreadable else self.refusal
                if ask.task != "inspect" and not refusal:
                    path = export(self._volume, ask.place, ask.digest, ask.task)
                    path.parent.mkdir(exist_ok=True)
                    content = ask.task.encode()
                    if self.notes_checksums:
                        checksum(path).write_text(f"sha256:{hashlib.sha256(content).hexdigest()}")
                    path.write_bytes(content)
                    if self.loses_what_it_makes:
                        path.unlink()
                answer = WorkshopAnswer(error=refusal)
                self._redis.set(WORKSHOP_REPLY_OF + ask.id, answer.model_dump_json(), ex=30)

    def stop(self) -> None:
        self._ended.set()
        self.join()
