"""Moves aliases: writes the volume, then Redis, whose script decides. One move at a time per deployment.

A gateway that dies between the two writes leaves the volume one revision ahead. The next gateway that starts
or moves the alias completes the move: the higher revision wins. An incomplete deletion is undone. So is a
refused move, by the gateway that refused it, as soon as the volume allows that.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

from redis.exceptions import RedisError

from contract.alias import AliasRecord
from contract.command import Command
from contract.durable import remove_durably, replace_durably
from contract.errors import ErrorCode, ServiceError
from contract.pointing import PointOutcome, point, unpoint
from service.alone import alone
from service.gateway import Gateway
from service.records import require_rebuilt
from service.references import Target, of_digest, of_meaning, other_copy
from service.refusals import being_rebuilt, is_for_lack_of_memory
from service.settling import until_settled

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=AliasRecord | None)

Decide = Callable[[AliasRecord | None], Awaitable[R]]
"""Maps an alias's current record to the new one; None: there is no alias. Raises to forbid the change."""


async def move(gateway: Gateway, alias: str, decide: Decide[AliasRecord]) -> AliasRecord:
    """Apply `decide` as `change` does, once samplers have loaded the generator that it chooses.

    They serve the one that the alias already points to, so that is not loaded again.

    Raises:
        ServiceError: as `change`, or a sampler's own if it cannot load the generator.
    """
    seen = await gateway.store.alias_record(alias)
    target = await of_meaning(gateway, (await decide(seen)).now)
    if seen is None or (await of_meaning(gateway, seen.now)).digest != target.digest:
        await _warm(gateway, target)
    return await change(gateway, alias, decide)


async def _warm(gateway: Gateway, target: Target) -> None:
    """Have samplers load a generator, or its other copy if this one is damaged, as requests do."""
    try:
        await gateway.warming.warm(target.digest, target.place)
    except ServiceError as refusal:
        if refusal.code is not ErrorCode.CHECKPOINT_UNREADABLE:
            raise
        await of_digest(gateway, target.digest)  # which says so if it was deleted meanwhile
        other = await other_copy(gateway, target)
        if other is None:
            raise
        await gateway.warming.warm(other.digest, other.place)


async def change(gateway: Gateway, alias: str, decide: Decide[R]) -> R:
    """Apply `decide` to the alias's current record, and return the new one.

    Raises:
        ServiceError: what `decide` raises; `model_not_found` if the generator was deleted meanwhile.
    """
    async with _alone(gateway):
        while True:
            before = await _agreed(gateway, alias)
            after = await decide(before)
            if after == before:
                return after
            outcome = await _write(gateway, alias, before, after)
            if outcome == "pointed":
                return after
            if outcome == "rebuilding":
                raise being_rebuilt()
            if outcome == "gone":
                detail = f"The generator has been deleted meanwhile; point {alias} at another one."
                raise ServiceError(ErrorCode.MODEL_NOT_FOUND, detail)


async def settle(gateway: Gateway) -> None:
    """Complete the moves of gateways that died, once Redis and the volume answer."""
    unsettled: set[str] | None = None

    async def attempt() -> bool:
        nonlocal unsettled
        if unsettled is None:
            in_redis = await gateway.store.aliases()
            unsettled = {*in_redis, *await gateway.on_volume(gateway.volume.all_aliases)}
        for alias in sorted(unsettled):
            with contextlib.suppress(ServiceError, OSError):  # the requests concerned report these themselves
                async with _alone(gateway):
                    await _agreed(gateway, alias)
                unsettled.remove(alias)
        return not unsettled

    await until_settled(attempt, OSError)


def _alone(gateway: Gateway) -> AbstractAsyncContextManager[None]:
    return alone(gateway, gateway.volume.aliases, doing="changing an alias")


async def _agreed(gateway: Gateway, alias: str) -> AliasRecord | None:
    """Return the alias's record, once volume and Redis agree on it."""
    await require_rebuilt(gateway)
    path = gateway.volume.alias(alias)
    in_redis = await gateway.store.alias_record(alias)
    on_volume = await gateway.on_volume(_read, path, in_redis)
    is_refused = alias in gateway.refused_moves
    if on_volume is not None and not is_refused and on_volume.now.revision > _revision(in_redis):
        outcome = await _say(gateway, alias, on_volume, expected=_revision(in_redis))
        if outcome == "pointed":
            return on_volume
        if outcome == "rebuilding":
            raise being_rebuilt()
    if on_volume != in_redis:
        await gateway.on_volume(_keep, path, in_redis)
    gateway.refused_moves.discard(alias)
    return in_redis


async def _write(
    gateway: Gateway, alias: str, before: AliasRecord | None, after: AliasRecord | None
) -> PointOutcome:
    """Write the volume, then Redis; if either refuses, restore the volume. Returns the outcome in Redis."""
    path = gateway.volume.alias(alias)
    try:
        await gateway.on_volume(_keep, path, after)
    except OSError:  # it may be written all the same
        _revert_later(gateway, alias)
        raise
    try:
        outcome = await _say(gateway, alias, after, expected=_revision(before))
    except RedisError as error:
        if is_for_lack_of_memory(error):
            await _restore(gateway, alias, before)
        else:
            _settle_later(gateway, alias)
        raise
    if outcome != "pointed":
        await _restore(gateway, alias, before)
    return outcome


async def _restore(gateway: Gateway, alias: str, before: AliasRecord | None) -> None:
    try:
        await gateway.on_volume(_keep, gateway.volume.alias(alias), before)
    except OSError as error:
        logger.warning("%s: a refused change is reverted later: %s", alias, error)
        _revert_later(gateway, alias)


def _revert_later(gateway: Gateway, alias: str) -> None:
    gateway.refused_moves.add(alias)
    _settle_later(gateway, alias)


def _settle_later(gateway: Gateway, alias: str) -> None:
    """Complete or revert a move of this alias, once Redis and the volume answer."""

    async def attempt() -> bool:
        async with _alone(gateway):
            await _agreed(gateway, alias)
        return True

    gateway.background.settle(f"the alias {alias}", attempt, ServiceError, OSError)


async def _say(gateway: Gateway, alias: str, wanted: AliasRecord | None, *, expected: int) -> PointOutcome:
    command: Command[PointOutcome] = unpoint(alias, expected=expected)
    if wanted is not None:
        command = point(alias, wanted, expected=expected)
    outcome = await gateway.store.run(command)
    if outcome == "moved" and await gateway.store.alias_record(alias) == wanted:
        return "pointed"  # by this call: its reply was lost, and redis-py retried
    return outcome


def _revision(record: AliasRecord | None) -> int:
    return record.now.revision if record else 0


def _read(path: Path, in_redis: AliasRecord | None) -> AliasRecord | None:
    try:
        return AliasRecord.of_file(path.read_bytes())
    except (FileNotFoundError, ValueError):  # a damaged file is rewritten
        return None
    except OSError:
        if in_redis is not None:  # the file may be ahead of it
            raise
        return None


def _keep(path: Path, record: AliasRecord | None) -> None:
    if record is not None:
        replace_durably(path, record.as_file())
    elif path.exists():
        remove_durably(path)
