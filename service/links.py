"""The addresses that more than one answer has among its links."""


def some_samples(model: str) -> str:
    """A few pictures of a generator, however it is named."""
    return f"/samples?model={model}&seed=0&count=16"
