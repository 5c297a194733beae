"""A network that fails without a word: a proxy before a server, in which bytes can vanish."""

import contextlib
import socket
import threading
import time


class BlackHole:
    """Passes bytes on, both ways. While it swallows, nothing arrives or is refused, and nobody is told."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._swallowing_until = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def swallow(self, seconds: float) -> None:
        """Lose every connection that there is now, or will be within `seconds`, for good."""
        self._swallowing_until = time.monotonic() + seconds

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server)
        except OSError:
            client.close()
            return
        born = time.monotonic()
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, sink, born), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, born: float) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                if born >= self._swallowing_until:
                    sink.sendall(content)
        while born < self._swallowing_until and time.monotonic() < self._swallowing_until + 60:
            time.sleep(0.5)  # nor does it hear of the other side's end
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()
