"""How fast the samplers answer, measured over the time in which somebody waited for them."""

import math

_WINDOW_SECONDS = 2.0


class Drain:
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
        """So many were answered."""
        if self._since is not None:
            kept = math.exp((self._since - now) / _WINDOW_SECONDS)
            self._images *= kept
            self._seconds = self._seconds * kept + (1 - kept) * _WINDOW_SECONDS
            self._since = now
        self._images += images

    def pause(self) -> None:
        """Nobody waits."""
        self._since = None

    def seconds_for(self, images: int) -> float:
        """How long so many take; 0 as long as nothing is known."""
        return images / self.per_second if self.per_second else 0.0
