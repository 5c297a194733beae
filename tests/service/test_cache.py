"""The cache of samples: bounded in bytes, the least recently used go first."""

from service.cache import SampleCache


def test_the_least_recently_used_goes_first() -> None:
    cache = SampleCache(10)
    cache.put("a", b"12345")
    cache.put("b", b"12345")
    assert cache.get("a")
    cache.put("c", b"1")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"12345", None, b"1")


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = SampleCache(10)
    cache.put("a", b"12345")
    cache.put("b", b"1" * 11)
    assert (cache.get("a"), cache.get("b")) == (b"12345", None)


def test_what_is_put_twice_counts_once() -> None:
    cache = SampleCache(10)
    for _ in range(5):
        cache.put("a", b"12345")
    cache.put("b", b"12345")
    assert (cache.get("a"), cache.get("b")) == (b"12345", b"12345")
