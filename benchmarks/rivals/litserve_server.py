"""The same generator behind LitServe: batches of up to 64, a batch timeout of 5 ms, PNG output.

    python benchmarks/rivals/litserve_server.py CHECKPOINT PORT [--threads 1] [--fast-queue]

Start it with the Python of an environment that has LitServe; torch and Pillow come from ours.
"""

import argparse
import io
from pathlib import Path
from typing import Any

import litserve
import torch
from fastapi import Response
from PIL import Image
from torch import Tensor

from models.checkpoint import load_checkpoint

MAX_BATCH = 64
TIMEOUT_SECONDS = 0.005


class Samples(litserve.LitAPI):  # type: ignore[misc]
    """Maps a seed to a picture."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=TIMEOUT_SECONDS, api_path="/samples")
        self._checkpoint = checkpoint
        self._threads = threads

    def setup(self, device: str) -> None:
        torch.set_num_threads(self._threads)
        self._generator, _ = load_checkpoint(self._checkpoint)
        self._generator.to(device)

    def decode_request(self, request: dict[str, Any]) -> Tensor:
        noise = torch.Generator().manual_seed(int(request["seed"]))
        return torch.randn(self._generator.latent_size, generator=noise)

    def batch(self, inputs: list[Tensor]) -> Tensor:
        return torch.stack(inputs)

    def predict(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            images: Tensor = self._generator(x)
        return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def unbatch(self, output: Tensor) -> list[Tensor]:
        return list(output)

    def encode_response(self, output: Tensor) -> Response:
        buffer = io.BytesIO()
        Image.fromarray(output.numpy()).save(buffer, "png")
        return Response(buffer.getvalue(), media_type="image/png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fast-queue", action="store_true")
    given = parser.parse_args()
    server = litserve.LitServer(
        Samples(given.checkpoint, given.threads),
        accelerator="cpu",
        workers_per_device=1,
        fast_queue=given.fast_queue,
    )
    server.run(
        host="127.0.0.1", port=given.port, num_api_servers=1, log_level="warning", generate_client_file=False
    )
