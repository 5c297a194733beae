"""How fast the images go by: a mean over the last minute or so, steady enough for an estimate."""

import time

WINDOW_SECONDS = 60.0


class Meter:
    """Keeps a few readings of the count and the clock."""

    def __init__(self, images_seen: int) -> None:
        self._readings = [(time.monotonic(), images_seen)]

    def update(self, images_seen: int) -> float:
        """Take a reading; images per second over the window."""
        now = time.monotonic()
        self._readings.append((now, images_seen))
        while now - self._readings[1][0] > WINDOW_SECONDS:
            self._readings.pop(0)
        return self.rate()

    def rate(self) -> float:
        """Images per second between the oldest reading and the newest."""
        (start, first), (end, last) = self._readings[0], self._readings[-1]
        return (last - first) / (end - start) if end > start else 0.0
