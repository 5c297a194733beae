"""A clock for what measures time."""


class Clock:
    """Seconds that pass only when they are set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
