"""The sampling consumer: takes queued requests and renders them portion by portion.

Batches come from the backlog, not from a timer: an idle sampler answers one request at once, a busy one finds
many waiting. Requests past their deadline, by Redis TIME, never reach the forward pass, nor do those known to
be withdrawn. A batch is limited in requests; it is rendered in portions, which are limited in weight to bound
memory. Requests for a generator that is still loading wait while others proceed. A heavy portion pauses now
and then for brief asks that arrive meanwhile.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import redis

from contract.errors import ErrorCode, ServiceError
from contract.rare_warning import RareWarning
from contract.wire import Ask
from models.sampler import Sampler
from worker.engine import Engine, Key, Target
from worker.line import Line
from worker.liveness import Liveness
from worker.portions import for_a_pause, is_heavy, portions, split
from worker.rendering import admit, render
from worker.replies import Refused, Rendered, Replies
from worker.slices import Progress, Slices, Work
from worker.store import BREATH_SECONDS, POP_SECONDS, connect
from worker.withdrawals import Withdrawals

logger = logging.getLogger(__name__)

LOADING_SECONDS = 0.02
"""The longest blocking pop while asks wait for a generator, before checking for it again."""
STOP_SECONDS = 8.0
LOOK_AHEAD = 256
"""In a pause, how far into the line it is searched for brief asks."""
FAILED = "the sampler failed; see its log"

Portions = Sequence[Sequence[Ask]]
Samplers = Mapping[Key, Sampler]


class _GivenUpError(Exception):
    """What is being rendered is not finished, for this reason. Gateways that still wait ask again."""


class SampleConsumer(threading.Thread):
    """Runs until stopped. Takes no requests while its renderer is not the deployment's."""

    def __init__(self, name: str, url: str, engine: Engine, renderer: str, batch_limit: int) -> None:
        super().__init__(name="sampling", daemon=True)
        connection = connect(url, decode=False)
        self._line = Line(connection, name)
        self._engine = engine
        self._renderer = renderer
        self._batch_limit = batch_limit
        self._replies = Replies(url, renderer)
        self._liveness = Liveness()
        self._awaiting_load: list[Ask] = []
        self._taken_at: dict[str, float] = {}  # by ask id, in seconds of our clock
        self._withdrawals = Withdrawals(connection)
        self._slices = Slices()
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
        wait_seconds = LOADING_SECONDS if self._awaiting_load else POP_SECONDS
        asks = self._accept(self._line.take(self._batch_limit, wait_seconds))
        self._slices.begin()
        return asks

    def _accept(self, taken: Iterable[Ask]) -> list[Ask]:
        """Skip those that a gateway has sent again while they wait for a generator, or are being answered."""
        now = time.monotonic()
        asks = []
        for ask in taken:
            if not self._has(ask):
                self._taken_at[ask.id] = now
                asks.append(ask)
        return asks

    def _has(self, ask: Ask) -> bool:
        return ask.id in self._taken_at or self._replies.has(ask)

    def _forget(self, asks: Iterable[Ask]) -> None:
        """These were given or given up. Answers can be lost: what is sent again is to be accepted."""
        for ask in asks:
            self._taken_at.pop(ask.id, None)

    def _is_awaited(self, ask: Ask) -> bool:
        """Whether a client waits, and its deadline, by Redis TIME at the last pop, has not passed."""
        return self._line.seconds_left(ask) > 0 and ask.id not in self._withdrawals

    def _serve(self, asks: Sequence[Ask], awaiting_load: Iterable[Ask] = ()) -> None:
        """Answer these, but for those that wait for their generators, as `awaiting_load` go on doing."""
        self._awaiting_load = [*awaiting_load]
        samplers: dict[Key, Sampler] = {}
        ready: list[Ask] = []
        self._withdrawals.look(self._taken_at)
        wanted, gone = split(asks, self._is_awaited)
        self._forget(gone)
        for (key, _), wanting in self._by_target(wanted).items():
            if sampler := self._sampler(wanting):
                samplers[key] = sampler
                ready += self._admit(sampler, wanting)
        cut = portions(ready)
        for place, portion in enumerate(cut):
            if not self._liveness.is_sound:
                break  # gateways ask again, perhaps another sampler
            self._withdrawals.look(self._taken_at)
            awaited = [ask for ask in portion if self._is_awaited(ask)]
            ahead = [awaited, *cut[place + 1 :]]
            pause = partial(self._pause, ahead, samplers) if is_heavy(portion) else _go_on
            sampler = samplers[self._engine.key(portion[0].spec)]
            if awaited and (made := self._render(awaited, sampler, pause)):
                self._give(made, is_alone=len(asks) == 1 and awaited[0].spec.weight == 1)
            self._forget(portion)
        self._engine.settle(self._by_target(self._awaiting_load))
        self.precisions = self._engine.precisions

    def _give(self, made: Rendered | Refused, *, is_alone: bool = False) -> None:
        """Send it from here if it is alone, in a pause, or brief while a sheet is being encoded elsewhere."""
        would_wait = self._replies.are_slow and not is_heavy(made.asks)
        self._replies.give(made, at_once=is_alone or self._slices.is_paused or would_wait)
        self._forget(made.asks)

    def _pause(self, ahead: Portions, samplers: Samplers, progress: Progress) -> None:
        """Serve brief asks that have arrived, if it is time for that, before the rest, and probe if it is.

        Raises:
            _GivenUpError: the device has failed meanwhile.
        """
        if self._slices.is_over and not self._end.is_set() and self._active.is_set():
            began_at = time.monotonic()
            with self._slices.pause(), self._engine.holding(samplers):
                self._serve_brief(ahead, samplers, progress)
            progress.begun_at += time.monotonic() - began_at
        if not self._liveness.is_sound or (self._liveness.wants_probe and not self._probe()):
            raise _GivenUpError("the device has failed")

    def _serve_brief(self, ahead: Portions, samplers: Samplers, progress: Progress) -> None:
        asks: list[Ask] = []
        try:
            seen = self._line.look(LOOK_AHEAD)
            chosen = self._choose([one.ask for one in seen], ahead, samplers, progress)
            if chosen is None:
                self._slices.refuse()
                return
            taken = self._line.remove([one for one in seen if one.ask.id in chosen or self._has(one.ask)])
            # What is still to be loaded costs a pause nothing, and takes no room in it.
            asks = [
                ask
                for ask in self._awaiting_load
                if ask.id in chosen or (ask.spec.is_brief and not self._engine.peek(ask))
            ]
            asks += self._accept(ask for ask in taken if ask.id in chosen)
            if asks:
                serving = {ask.id for ask in asks}
                self._serve(asks, [ask for ask in self._awaiting_load if ask.id not in serving])
        except redis.RedisError as error:
            self._away.log("sampling Redis is away: %s", error)
        except Exception:
            logger.exception("the asks of a pause were lost; their gateways ask again")
        finally:
            still = {ask.id for ask in self._awaiting_load}
            self._forget(ask for ask in asks if ask.id not in still)

    def _choose(
        self, waiting: Iterable[Ask], ahead: Portions, samplers: Samplers, progress: Progress
    ) -> set[str] | None:
        """The ids of the brief asks to serve now; None if something could be late by that."""
        new = {ask.id: ask for ask in waiting if not self._has(ask)}  # each once
        loaded = [ask for ask in self._awaiting_load if ask.spec.is_brief and self._engine.peek(ask)]
        chosen = for_a_pause([*loaded, *new.values()])
        heavy = [[ask] for ask in new.values() if not ask.spec.is_brief]
        seconds_each = partial(self._seconds_each, samplers, ahead[0][0])
        coming_seconds = sum(seconds_each(ask) * ask.spec.weight for ask in chosen)
        works = [*self._works([*ahead, *heavy], progress.share, seconds_each)]
        if self._slices.endanger(works, time.monotonic() - progress.begun_at, coming_seconds):
            return None
        return {ask.id for ask in chosen}

    def _works(self, ahead: Portions, share: float, seconds_each: Callable[[Ask], float]) -> Iterator[Work]:
        """What lies ahead, of whose first portion, which is rendered as a whole, this share is done."""
        for place, portion in enumerate(ahead):
            if awaited := list(filter(self._is_awaited, portion)):
                rendered = awaited if place else portion
                each = seconds_each(portion[0])
                count = sum(ask.spec.count for ask in rendered)
                weight = sum(ask.spec.weight for ask in rendered)
                left = min(map(self._line.seconds_left, awaited))
                yield Work(each * count, 0.0 if place else share, left, each * (weight - count))

    def _seconds_each(self, samplers: Samplers, first: Ask, ask: Ask) -> float:
        """Of a sample in full batches; if its generator is not in memory, as much as of the first ask's."""
        known = samplers.get(self._engine.key(ask.spec)) or self._engine.peek(ask)
        return (known or samplers[self._engine.key(first.spec)]).seconds_each

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
            self._give(Refused(wanting, refusal.code, refusal.detail))
            return None
        except Exception:
            logger.exception("generator %s could not be loaded", wanting[0].spec.digest)
            if self._probe():
                self._give(Refused(wanting, ErrorCode.INTERNAL, FAILED))
            return None
        if sampler is None:
            self._awaiting_load += wanting
        return sampler

    def _admit(self, sampler: Sampler, wanting: Sequence[Ask]) -> list[Ask]:
        """Return the asks that this generator can fulfil; refuse the others."""
        welcome, refused = admit(sampler, wanting)
        for ask, objection in refused:
            reason = Refused([ask], ErrorCode.INVALID_REQUEST, objection.detail, objection.pointer)
            self._give(reason)
        return welcome

    def _render(
        self, portion: Sequence[Ask], sampler: Sampler, pause: Callable[[Progress], None]
    ) -> Rendered | Refused | None:
        """Render a portion. None as soon as no client waits for any of it, or all deadlines have passed.

        None, too, if the device has failed: gateways ask again, perhaps another sampler.
        """
        passes = sampler.passes(sum(ask.spec.count for ask in portion))
        progress = Progress(passes, begun_at=time.monotonic())

        def go_on() -> None:
            progress.passed += 1
            self._liveness.record_pass()
            self._withdrawals.look(self._taken_at)
            if not any(map(self._is_awaited, portion)):
                raise _GivenUpError("nobody waits for it any more")
            if progress.passed < passes:
                pause(progress)

        try:
            pause(progress)
            images = render(sampler, portion, go_on)
        except _GivenUpError as reason:
            logger.info("a portion of %d asks was given up: %s", len(portion), reason)
            return None
        except Exception:
            logger.exception("a portion of %d asks failed", len(portion))
            return Refused(portion, ErrorCode.INTERNAL, FAILED) if self._probe() else None
        taken_at = min(self._taken_at[ask.id] for ask in portion)
        return Rendered(portion, images, taken_at, progress.begun_at, time.monotonic(), sampler.seconds_each)


def _go_on(progress: Progress) -> None:
    """Make no pause."""
    del progress
