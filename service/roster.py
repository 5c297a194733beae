"""The living workers, as they report themselves to Redis."""

import time

from contract.keys import Role
from contract.warming import LivingSampler, living_samplers
from contract.workers import workers
from service.single_flight import SingleFlight
from service.store import Store

_ROLES_SECONDS = 1.0


class Roster:
    """Who is there to do what."""

    def __init__(self, store: Store, shared: SingleFlight) -> None:
        self._store = store
        self._shared = shared
        self._read_at, self._roles = 0.0, frozenset[Role]()

    async def roles(self) -> frozenset[Role]:
        """The roles that active workers fill, at most a second old."""
        if time.monotonic() - self._read_at > _ROLES_SECONDS:
            return await self._shared.ask("roles", self._read_roles)
        return self._roles

    async def samplers(self) -> list[LivingSampler]:
        """The samplers that take requests now."""
        return living_samplers(await self._store.run(workers()))

    async def _read_roles(self) -> frozenset[Role]:
        facts = await self._store.run(workers())
        active = {one["role"] for one in facts if one.get("active", True)}
        self._roles = frozenset(role for role in Role if role in active)  # a newer version may have others
        self._read_at = time.monotonic()
        return self._roles
