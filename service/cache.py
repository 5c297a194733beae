"""In-memory cache of rendered samples. Entries never go stale: a key determines its bytes."""

from collections import OrderedDict

ENTRY_BYTES = 250
"""What an entry takes besides its content: the key, and the dictionary's share. Measured with 300,000."""


class SampleCache:
    """An LRU cache, bounded by the memory that it takes."""

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
        taken = len(content) + ENTRY_BYTES
        if taken > self._max_bytes or self.get(key) is not None:
            return
        self._entries[key] = content
        self._bytes += taken
        while self._bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= len(oldest) + ENTRY_BYTES
