"""URLs that several responses link to."""


def some_samples(model: str) -> str:
    """The URL of a few pictures of a generator, given any reference to it."""
    return f"/samples?model={model}&seed=0&count=16"
