"""The generators in memory, loaded and warmed on a separate thread so that other requests do not wait."""

import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from contract.errors import ErrorCode, ServiceError
from contract.sampling import CheckpointPlace, SamplePrecision, SampleSpec
from contract.volume import Volume
from contract.wire import Ask
from models.canary import canary
from models.checkpoint import load_checkpoint
from models.environment import NumericEnvironment
from models.sampler import Sampler
from worker.hanging import Reads
from worker.memory import available_bytes
from worker.needs import Load, Needs

logger = logging.getLogger(__name__)

Key = tuple[str, SamplePrecision]
"""A generator in memory: its digest, and `float32` if it was cast to that and `auto` is another precision."""
Target = tuple[Key, CheckpointPlace]
"""A generator and its place: the same digest may be in two places, one of them damaged."""
LOADS_AHEAD = 2
"""Maximum of loads not yet collected: one and the next. The limit in bytes does not count them."""


class Engine:
    """An LRU cache of generators, limited in bytes except for a few just loaded. Used by one thread."""

    def __init__(self, volume: Volume, environment: NumericEnvironment, limit_bytes: int) -> None:
        self._volume = volume
        self._environments: dict[SamplePrecision, NumericEnvironment] = {"auto": environment}
        if environment.precision != "float32":
            self._environments["float32"] = environment.model_copy(update={"precision": "float32"})
        self._limit_bytes = limit_bytes
        self._samplers: OrderedDict[Key, Sampler] = OrderedDict()
        self._loader = ThreadPoolExecutor(1, "loading", environment.apply)
        self._loading: dict[Target, Future[Sampler]] = {}
        self._reads = Reads()
        self._needs = Needs(volume, self._environments, self._reads)
        self._room_is_made_for: Target | None = None
        """By evicting others, whose memory is free once what was rendered meanwhile is done with them."""
        self._is_crowded = False
        """Whether a load waits for the others' memory: until they are over, none overtakes it."""
        self._canary: Sampler | None = None
        self._held: Collection[Key] = ()
        """The generators in use meanwhile: to evict one would free no memory."""

    def begin(self) -> None:
        """Set up the calling thread. Call this first."""
        self._environments["auto"].apply()

    def key(self, spec: SampleSpec) -> Key:
        """The generator that renders this."""
        return spec.digest, spec.precision if spec.precision in self._environments else "auto"

    @property
    def precisions(self) -> tuple[SamplePrecision, ...]:
        """`auto`, and what else is in memory: in these a generator that replaces others will be requested."""
        return tuple(
            precision
            for precision in self._environments
            if precision == "auto" or any(precision == held for _, held in self._samplers)
        )

    def sampler(self, spec: SampleSpec, place: CheckpointPlace) -> Sampler | None:
        """The warmed generator that renders this. None while it, or others before it, are loading.

        Raises:
            ServiceError: `checkpoint_unreadable`, once, if the file is gone, damaged, unreadable or not of
                this digest; `volume_failing` if the volume is away or hangs. The next call tries again.
                `insufficient_memory` if loading it could exhaust the memory.
        """
        key = self.key(spec)
        if key not in self._samplers:
            loading = self._loading.get((key, place))
            if loading is None or not loading.done():
                self._reads.require_none_hangs()
                if loading is None and len(self._loading) < LOADS_AHEAD and self._make_room((key, place)):
                    self._loading[key, place] = self._loader.submit(self._load, key, place)
                return None
            del self._loading[key, place]
            self._keep(key, loading.result())
        self._samplers.move_to_end(key)
        return self._samplers[key]

    def peek(self, ask: Ask) -> Sampler | None:
        """The generator if it is loaded; this neither loads it nor counts as use."""
        key = self.key(ask.spec)
        loading = self._loading.get((key, ask.place))
        if loading and loading.done() and loading.exception() is None:
            return loading.result()
        return self._samplers.get(key)

    @contextmanager
    def holding(self, in_use: Collection[Key]) -> Iterator[None]:
        """Evict none of these. What lacks their room waits until they are no longer held.

        Meanwhile, `settle` also caches what is awaited, if there is room: who awaits it may get no turn.
        """
        self._held = in_use
        try:
            yield
        finally:
            self._held = ()

    def settle(self, awaited: Collection[Target]) -> None:
        """Clean up loads that nobody waits for any more: cancel those not begun, cache those finished."""
        for target, loading in list(self._loading.items()):
            if target not in awaited:
                if loading.cancel() or loading.done():
                    self._collect(target)
            elif self._held and loading.done() and self._has_room(loading):
                self._collect(target)
        if self._room_is_made_for not in awaited:
            self._room_is_made_for = None
        self._needs.keep({_load_of(target) for target in (*awaited, *self._loading)})

    def _has_room(self, loaded: Future[Sampler]) -> bool:
        return loaded.exception() is None and self._bytes() + loaded.result().bytes <= self._limit_bytes

    def _collect(self, target: Target) -> None:
        loading = self._loading.pop(target)
        if not loading.cancelled() and loading.exception() is None:
            self._keep(target[0], loading.result())

    def probe(self) -> None:
        """Check that a forward pass works, on the most recently used generator or on a tiny one.

        Raises:
            RuntimeError: the image differs from the first one. Whatever torch raises is passed on.
        """
        latest = next(reversed(self._samplers.values()), None) or self._canary
        if latest is None:
            latest = self._canary = canary(self._environments["auto"])
        if not latest.still_works():
            raise RuntimeError("a forward pass no longer gives the image that it gave at first")

    def close(self) -> None:
        """Start no more loads."""
        self._loader.shutdown(wait=False, cancel_futures=True)
        self._needs.close()

    def _load(self, key: Key, place: CheckpointPlace) -> Sampler:
        digest, precision = key
        path = self._volume.checkpoint(place.job, place.file)
        with self._reads.one(path):
            try:
                generator, header = load_checkpoint(path, digest)
            except ServiceError:
                self._require_volume()
                raise
        sampler = Sampler(generator, header, self._environments[precision])
        logger.info(
            "loaded generator %s (%s, %d kB, batches of %s)",
            digest[:19],
            precision,
            sampler.bytes // 1000,
            sampler.buckets,
        )
        return sampler

    def _require_volume(self) -> None:
        try:
            self._volume.require()
        except OSError as error:
            detail = (
                f"This generator is not in memory and cannot be read now ({error.strerror}); try again in a"
                " moment, and see to the volume if it persists."
            )
            raise ServiceError(ErrorCode.VOLUME_FAILING, detail) from error

    def _make_room(self, target: Target) -> bool:
        """Whether a generator can be loaded now. If not, others may have been evicted for it, or be loading.

        Raises if it cannot be loaded at all: the kernel would kill this process, and the next one that tries.
        """
        if self._room_is_made_for == target:
            self._room_is_made_for = None
            return True
        self._is_crowded &= bool(self._loading)
        if self._is_crowded or self._room_is_made_for:
            return False
        needed = self._needs.bytes_of(_load_of(target))
        if needed is None:
            return False
        loading = [other for other, load in self._loading.items() if not load.done()]
        taken = (self._needs.bytes_of(_load_of(other)) or 0 for other in loading)
        available = available_bytes("cpu") - sum(taken)
        if needed <= available:
            return True
        is_on_cpu = self._environments["auto"].device == "cpu"  # a GPU's generators are not in this memory
        evictable = self._bytes() - self._held_bytes() if is_on_cpu and not loading else 0
        if needed > available + evictable:
            if self._loading or self._held:
                self._is_crowded = True
                return False
            detail = (
                f"Loading this generator takes up to {needed // 2**20:,} MiB of memory, and "
                f"{(available + evictable) // 2**20:,} MiB can be had: give the samplers more, or train a "
                "narrower one."
            )
            raise ServiceError(ErrorCode.INSUFFICIENT_MEMORY, detail)
        while needed > available:
            available += self._evict()
        self._room_is_made_for = target
        return False

    def _keep(self, key: Key, sampler: Sampler) -> None:
        self._samplers[key] = sampler
        while self._bytes() > self._limit_bytes and any(other != key for other in self._evictable()):
            self._evict()

    def _evict(self) -> int:
        """Drop the generator that was used least recently; returns its size."""
        key = next(self._evictable())
        logger.info("dropped generator %s", key[0][:19])
        return self._samplers.pop(key).bytes

    def _evictable(self) -> Iterator[Key]:
        """Those that are not held, the least recently used one first."""
        return (key for key in self._samplers if key not in self._held)

    def _bytes(self) -> int:
        return sum(loaded.bytes for loaded in self._samplers.values())

    def _held_bytes(self) -> int:
        return sum(loaded.bytes for key, loaded in self._samplers.items() if key in self._held)


def _load_of(target: Target) -> Load:
    (_, precision), place = target
    return place, precision
