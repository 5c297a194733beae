"""The obvious first implementation: a FastAPI route that renders one sample per request, and a constant one.

    python benchmarks/rivals/plain_server.py CHECKPOINT PORT [--threads 1]

It has no batching, no cache and no limits, and does not optimise the trained generator. The route with
constant bytes shows the limit of the framework on this machine.
"""

import argparse
import io
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI, Response
from PIL import Image

from models.checkpoint import load_checkpoint


def create_app(checkpoint: Path) -> FastAPI:
    generator, _ = load_checkpoint(checkpoint)
    app = FastAPI()

    @app.get("/samples")
    def sample(seed: int) -> Response:
        with torch.inference_mode():
            noise = torch.Generator().manual_seed(seed)
            image = generator(torch.randn(1, generator.latent_size, generator=noise))[0]
        pixels = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, "png")
        return Response(buffer.getvalue(), media_type="image/png")

    constant = bytes(sample(0).body)

    @app.get("/constant")
    async def same() -> Response:
        return Response(constant, media_type="image/png")

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    uvicorn.run(create_app(given.checkpoint), port=given.port, log_level="warning", access_log=False)
