"""`python -P -m service`: one gateway process."""

import argparse
import gc
import logging
import socket

import uvicorn

from contract.configuration import LOG_FORMAT
from service.app import create_app
from service.gateway import Gateway
from service.protocol import LimitedProtocol
from service.settings import read_settings

_GRACE_SECONDS = 3
_KEEP_ALIVE_SECONDS = 75
"""Longer than clients and proxies keep idle connections (httpx 5 s, nginx 60). A busy event loop loses
requests that arrive just when it closes one: with uvicorn's 5 s, 10 of 156 that came about then."""
_YOUNG_OBJECTS = 10_000
"""Garbage collection threshold; Python's default of 700 took 8 % of a gateway's time under load."""


class _Server(uvicorn.Server):
    """A server that exempts its startup objects from garbage collection, and ends its event streams first."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # else, under load, each scan of these permanent objects takes 50 ms, every 0.7 s
        gc.set_threshold(_YOUNG_OBJECTS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._gateway.close_streams()  # the shutdown waits for every open connection
        await super().shutdown(sockets)


def main() -> None:
    """Serve until a signal arrives."""
    parser = argparse.ArgumentParser(prog="python -m service", description="Serve the gateway.")
    parser.add_argument("--host", help="address to listen on (DCGAN_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (DCGAN_PORT)")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    settings = read_settings(**given)
    logging.basicConfig(level=settings.log_level, format=LOG_FORMAT)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=LimitedProtocol,
        loop="uvloop",
        ws="none",
        access_log=False,
        log_config=None,  # uvicorn's messages go where ours do
        log_level=logging.getLevelNamesMapping()[settings.log_level],
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _Server(config, app.state.gateway).run()


if __name__ == "__main__":
    main()
