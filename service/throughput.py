"""How fast the samplers answer, measured over the time in which somebody waited for them."""

import math

_WINDOW_SECONDS = 2.0


class Throughput:
    """Images per second, an average that forgets within some seconds of waiting. Idle time counts nothing.

    So a quiet service does not take its few requests for all that it can do.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._images = 0.0  # both forget at the same pace, so their quotient is the average
        self._seconds = 0.0

    @property
    def per_second(self) -> float | None:
        """None before the first answer."""
        return self._images / self._seconds if self._images and self._seconds else None

    def begin(self, now: float) -> None:
        """Somebody waits from now on."""
        if self._since is None:
            self._since = now

    def count(self, images: int, now: float) -> None:
        """So many were answered. Nothing is counted while nobody waits."""
        if self._since is None:
            return
        seconds = now - self._since
        kept = math.exp(-seconds / _WINDOW_SECONDS)
        self._images = self._images * kept + images
        self._seconds = self._seconds * kept + seconds
        self._since = now

    def pause(self) -> None:
        """Nobody waits."""
        self._since = None
