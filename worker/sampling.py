"""The sampling consumer: takes queued requests and renders them portion by portion.

Batches come from the backlog, not from a timer: an idle sampler answers one request at once, a busy one finds
many waiting. Requests past their deadline, by Redis TIME, never reach the forward pass, nor do those known to
be withdrawn. A batch is limited in requests; it is rendered in portions, which are limited in weight to bound
memory. Requests for a generator that is still loading wait while others proceed.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import redis

from contract import keys
from contract.errors import ErrorCode, ServiceError
from contract.rare_warning import RareWarning
from contract.wire import MALFORMED, Ask
from models.sampler import Sampler
from worker.engine import Engine, Key, Target
from worker.liveness import Liveness
from worker.rendering import admit, kinship, render
from worker.replies import Refused, Rendered, Replies
from worker.store import BREATH_SECONDS, POP_SECONDS, connect
from worker.withdrawals import Withdrawals

logger = logging.getLogger(__name__)

LOADING_SECONDS = 0.02
"""The longest blocking pop while asks wait for a generator, before checking for it again."""
MOST_WEIGHT = 256
"""Limit of one portion, in samples of their own size; a heavier ask is a portion of its own."""
STOP_SECONDS = 8.0
FAILED = "the sampler failed; see its log"


class _UnawaitedError(Exception):
    """No client waits any more for what is being rendered."""


class SampleConsumer(threading.Thread):
    """Runs until stopped. Takes no requests while its renderer is not the deployment's."""

    def __init__(self, name: str, url: str, engine: Engine, renderer: str, batch_limit: int) -> None:
        super().__init__(name="sampling", daemon=True)
        self._lists = [keys.SAMPLES_WAITING_FOR + name, keys.SAMPLES_WAITING]
        self._redis = connect(url, decode=False)
        self._engine = engine
        self._renderer = renderer
        self._batch_limit = batch_limit
        self._replies = Replies(url, renderer)
        self._liveness = Liveness()
        self._awaiting_load: list[Ask] = []
        self._taken_at: dict[str, float] = {}  # by ask id, in seconds of our clock
        self._withdrawals = Withdrawals(self._redis)
        self._clock_offset_ms = 0.0  # Redis time - ours
        self._end = threading.Event()
        self._active = threading.Event()
        self._deployments_renderer: str | None = None
        self._away = RareWarning(logger)
        self.precisions = engine.precisions
        """In which generators are requested from this sampler."""

    @property
    def renderer(self) -> str:
        return self._renderer

    @property
    def trouble(self) -> str | None:
        """Why this sampler does not answer at the moment; None if it does."""
        if not self.is_alive():
            return "it has not begun, or has ended"
        if not self._active.is_set() and self._deployments_renderer is not None:
            return f"it renders as {self._renderer}, this deployment as {self._deployments_renderer}"
        return self._liveness.trouble if self._active.is_set() else "it has not said hello yet"

    @property
    def is_well(self) -> bool:
        """Whether both threads run and render, or need not, because they have not started or are stopping."""
        if self.ident is None or self._end.is_set():
            return True
        return self.is_alive() and self._replies.is_alive() and not self._liveness.is_dead

    def adopt(self, renderer: str | None) -> None:
        """Be active or idle, as the deployment's renderer is this sampler's or another."""
        if renderer == self._deployments_renderer:
            return
        self._deployments_renderer = renderer
        if renderer == self._renderer:
            self._active.set()
        else:
            self._active.clear()
            logger.warning(
                "idle: this deployment renders as %s, this sampler as %s", renderer, self._renderer
            )

    def start(self) -> None:
        self._replies.start()
        super().start()

    def run(self) -> None:
        self._engine.begin()
        while not self._end.is_set():
            if self._liveness.wants_probe and not self._probe():
                self._end.wait(BREATH_SECONDS)
                continue
            if not self._active.wait(POP_SECONDS):
                continue
            try:
                self._serve(self._awaiting_load + self._take())
            except redis.RedisError as error:
                self._away.log("sampling Redis is away: %s", error)
                self._end.wait(BREATH_SECONDS)
            except Exception:
                logger.exception("a batch was lost; its gateways ask again")
                self._end.wait(BREATH_SECONDS)
            finally:
                self._taken_at = {ask.id: self._taken_at[ask.id] for ask in self._awaiting_load}

    def stop(self) -> None:
        """Finish the current batch, then end."""
        self._end.set()
        until = time.monotonic() + STOP_SECONDS
        if self.is_alive():
            self.join(STOP_SECONDS)
        if self._replies.is_alive():
            self._replies.stop(max(0.0, until - time.monotonic()))
        self._engine.close()

    def _probe(self) -> bool:
        """Check whether it still renders correctly. While it does not, it takes no requests."""
        try:
            self._engine.probe()
        except Exception as error:
            logger.exception("a forward pass failed")
            self._liveness.record_probe(f"its forward pass fails: {error}")
        else:
            self._liveness.record_probe(None)
        return self._liveness.is_sound

    def _take(self) -> list[Ask]:
        """Take the queued requests; if there are none, wait a moment for some."""
        frames = self._pop()
        now = time.monotonic()
        read = [ask for frame in frames if (ask := _read(frame))]
        # A gateway may resend an ask that waits for its generator or is being answered: skip those.
        asks = [ask for ask in read if ask.id not in self._taken_at and not self._replies.has(ask)]
        self._taken_at.update((ask.id, now) for ask in asks)
        return asks

    def _pop(self) -> list[bytes]:
        """Wait for a frame, pop those that have queued up behind it, and read the time of Redis.

        In one round trip: Redis runs what follows a blocking command in a pipeline once that has ended.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.blpop(self._lists, LOADING_SECONDS if self._awaiting_load else POP_SECONDS)
        for name in self._lists:
            pipe.lpop(name, self._batch_limit - 1)
        pipe.time()
        first, *popped, (seconds, microseconds) = pipe.execute()
        self._clock_offset_ms = seconds * 1000 + microseconds / 1000 - time.monotonic() * 1000
        return [*(first or ())[1:], *(frame for frames in popped for frame in frames or ())]

    def _is_awaited(self, ask: Ask) -> bool:
        """Whether a client waits, and its deadline, by Redis TIME at the last pop, has not passed."""
        is_in_time = ask.deadline_ms > time.monotonic() * 1000 + self._clock_offset_ms
        return is_in_time and ask.id not in self._withdrawals

    def _serve(self, asks: Sequence[Ask]) -> None:
        self._awaiting_load = []
        samplers: dict[Key, Sampler] = {}
        ready: list[Ask] = []
        self._withdrawals.look(self._taken_at)
        for (key, _), wanting in self._by_target(ask for ask in asks if self._is_awaited(ask)).items():
            if sampler := self._sampler(wanting):
                samplers[key] = sampler
                ready += self._admit(sampler, wanting)
        for portion in portions(ready):
            if not self._liveness.is_sound:
                break  # gateways ask again, perhaps another sampler
            self._withdrawals.look(self._taken_at)
            awaited = [ask for ask in portion if self._is_awaited(ask)]
            if awaited and (made := self._render(awaited, samplers[self._engine.key(awaited[0].spec)])):
                self._replies.give(made, is_alone=len(asks) == 1 and awaited[0].spec.weight == 1)
        self._engine.settle(self._by_target(self._awaiting_load))
        self.precisions = self._engine.precisions

    def _by_target(self, asks: Iterable[Ask]) -> Mapping[Target, Sequence[Ask]]:
        groups: defaultdict[Target, list[Ask]] = defaultdict(list)
        for ask in asks:
            groups[self._engine.key(ask.spec), ask.place].append(ask)
        return groups

    def _sampler(self, wanting: Sequence[Ask]) -> Sampler | None:
        """The generator of these asks. If it is None, they wait for it or have been refused."""
        try:
            sampler = self._engine.sampler(wanting[0].spec, wanting[0].place)
        except ServiceError as refusal:
            self._replies.give(Refused(wanting, refusal.code, refusal.detail))
            return None
        except Exception:
            logger.exception("generator %s could not be loaded", wanting[0].spec.digest)
            if self._probe():
                self._replies.give(Refused(wanting, ErrorCode.INTERNAL, FAILED))
            return None
        if sampler is None:
            self._awaiting_load += wanting
        return sampler

    def _admit(self, sampler: Sampler, wanting: Sequence[Ask]) -> list[Ask]:
        """Return the asks that this generator can fulfil; refuse the others."""
        welcome, refused = admit(sampler, wanting)
        for ask, objection in refused:
            reason = Refused([ask], ErrorCode.INVALID_REQUEST, objection.detail, objection.pointer)
            self._replies.give(reason)
        return welcome

    def _render(self, portion: Sequence[Ask], sampler: Sampler) -> Rendered | Refused | None:
        """Render a portion. None as soon as no client waits for any of it, or all deadlines have passed.

        None, too, if the device has failed: gateways ask again, perhaps another sampler.
        """

        def go_on() -> None:
            self._liveness.record_pass()
            self._withdrawals.look(self._taken_at)
            if not any(map(self._is_awaited, portion)):
                raise _UnawaitedError

        begun_at = time.monotonic()
        try:
            images = render(sampler, portion, go_on)
        except _UnawaitedError:
            logger.info("a portion of %d asks was given up: nobody waits for it any more", len(portion))
            return None
        except Exception:
            logger.exception("a portion of %d asks failed", len(portion))
            return Refused(portion, ErrorCode.INTERNAL, FAILED) if self._probe() else None
        taken_at = min(self._taken_at[ask.id] for ask in portion)
        return Rendered(portion, images, taken_at, begun_at, time.monotonic(), sampler.seconds_each)


def portions(asks: Sequence[Ask]) -> list[list[Ask]]:
    """Group asks that are rendered together: of one generator, either all for one image or all for sheets.

    They are sorted by their heaviest asks, so that a single image never waits for a sheet of its batch.
    """
    cut: list[list[Ask]] = []
    weight = 0  # of the last portion
    for ask in sorted(asks, key=lambda ask: (kinship(ask.spec), ask.spec.weight)):
        weight += ask.spec.weight
        if cut and weight <= MOST_WEIGHT and kinship(ask.spec) == kinship(cut[-1][-1].spec):
            cut[-1].append(ask)
        else:
            cut.append([ask])
            weight = ask.spec.weight
    return sorted(cut, key=lambda portion: portion[-1].spec.weight)


def _read(frame: bytes) -> Ask | None:
    """Parse an ask; None if it is invalid, as one from a gateway of another version may be."""
    try:
        ask = Ask.unpack(frame)
        if [type(ask.id), type(ask.gateway), type(ask.deadline_ms)] != [str, str, int]:
            raise TypeError("its id, gateway or deadline is of a wrong type")
        f"{ask.id}{ask.gateway}".encode()  # both become parts of keys
    except MALFORMED as error:
        logger.warning("dropped a frame that is no ask: %s: %.200r", error, frame)
        return None
    return ask
