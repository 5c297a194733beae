"""Threads that play a gateway's workers, with the contract's own wire format."""

import hashlib
import threading
from typing import Any

import redis

from contract.errors import ErrorCode
from contract.job import Failure
from contract.keys import (
    SAMPLES_REPLIES_OF,
    SAMPLES_WAITING,
    SAMPLES_WAITING_FOR,
    WORKSHOP_REPLY_OF,
    WORKSHOP_WAITING,
)
from contract.sampling import CheckpointPlace
from contract.volume import Volume
from contract.wire import Answer, Ask, Stages
from contract.workshop import WorkshopAnswer, WorkshopAsk, checksum, export

STAGES = Stages(batch=1, forward=2, encode=3, each=0.5)
GONE = (ErrorCode.CHECKPOINT_UNREADABLE, "There is no such file.", "")
UNREADABLE = Failure(code=ErrorCode.CHECKPOINT_UNREADABLE, detail="It is damaged.")


class Sampler(threading.Thread):
    """Plays a sampler: each picture is just the canonical text of its spec."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.asks: list[Ask] = []
        self.held = threading.Event()
        self._taking = threading.Lock()
        self.refusal: tuple[Any, str, str] | None = None
        self.gone: set[CheckpointPlace] = set()
        self._redis = redis.Redis.from_url(url)
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

    def _next(self) -> Any:
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
        self._redis = redis.Redis.from_url(url, decode_responses=True)
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
