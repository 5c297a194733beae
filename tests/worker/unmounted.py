"""A child's work while the volume is away."""

from multiprocessing.connection import Connection

from contract.volume import Volume
from worker.child import Chore


class Unmounted(Chore):
    """Leaves only the directory that the volume is mounted on, until the work first waits."""

    def __init__(self, connection: Connection, volume: Volume) -> None:
        super().__init__(connection)
        self._root = volume.root
        self._away = volume.root.rename(volume.root.with_name("away"))
        self._root.mkdir()

    def rest(self, _seconds: float) -> None:
        self._root.rmdir()  # fails if something was created there
        self._away.rename(self._root)
