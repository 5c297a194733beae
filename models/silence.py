"""For work that tells how it goes, where nobody wants to know."""


def silent(*_told: object) -> None:
    """Told of nothing."""
