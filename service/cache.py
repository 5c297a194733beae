"""In-memory cache of rendered samples. Entries never go stale: a key determines its bytes."""

from collections import OrderedDict


class SampleCache:
    """An LRU cache, bounded by its total bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        content = self._entries.get(key)
        if content is not None:
            self._entries.move_to_end(key)
        return content

    def put(self, key: str, content: bytes) -> None:
        if len(content) > self._max_bytes:
            return
        self._bytes += len(content) - len(self._entries.pop(key, b""))
        self._entries[key] = content
        while self._bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= len(oldest)
