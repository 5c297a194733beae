"""Sends the head of a response together with the first piece of its body.

uvicorn writes one after the other, and uvloop would send each at once: two packets, and a client that is
woken twice.
"""

import asyncio

_MOST_COPIED = 64 * 2**10
"""Copying a larger piece costs more than a packet."""


class JoinedHead:
    """What a response is written to. Its first write waits for the second, but not beyond this step of the
    event loop: the body of a stream may be long in coming.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._is_begun = False

    def write(self, data: bytes) -> None:
        """Send this, or hold it back if it is the first."""
        if not self._is_begun:
            self._is_begun = True
            self._held = data
            self._loop.call_soon(self.flush)
            return
        if self._held and len(data) <= _MOST_COPIED:
            data, self._held = self._held + data, b""
        self.flush()
        self._transport.write(data)

    def flush(self) -> None:
        """Send what is held back."""
        held, self._held = self._held, b""
        if held and not self.is_closing():
            self._transport.write(held)

    def close(self) -> None:
        """Close the connection, after all that was written."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
