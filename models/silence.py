"""The default for progress callbacks."""


def silent(*_told: object) -> None:
    """Do nothing."""
