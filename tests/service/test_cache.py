"""The sample cache is bounded in bytes and evicts the least recently used entries first."""

from service.cache import ENTRY_BYTES, SampleCache


def test_least_recently_used_entry_is_evicted_first() -> None:
    cache = SampleCache(10 + 2 * ENTRY_BYTES)
    cache.put("a", b"12345")
    cache.put("b", b"12345")
    assert cache.get("a")
    cache.put("c", b"1")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"12345", None, b"1")


def test_entry_larger_than_the_cache_is_not_stored() -> None:
    cache = SampleCache(10 + 2 * ENTRY_BYTES)
    cache.put("a", b"12345")
    cache.put("b", bytes(11 + ENTRY_BYTES))
    assert (cache.get("a"), cache.get("b")) == (b"12345", None)


def test_entry_that_is_put_repeatedly_counts_once() -> None:
    cache = SampleCache(10 + 2 * ENTRY_BYTES)
    for _ in range(5):
        cache.put("a", b"12345")
    cache.put("b", b"12345")
    assert (cache.get("a"), cache.get("b")) == (b"12345", b"12345")
