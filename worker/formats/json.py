"""JSON: the generator's digest, and each sample's seed, address, and PNG as a data URL for `<img src=…>`."""

import base64
import json

import numpy as np
from numpy.typing import NDArray

from contract.sampling import SampleSpec
from worker.formats.png import encode_png


def encode_json(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
    """Encode tiles (N, R, R, C) with their seeds and addresses."""
    images = [
        {
            "seed": next(iter(alone.seeds), None),
            "url": alone.address(),
            "src": _data_url(encode_png(tiles[index : index + 1], alone)),
        }
        for index, alone in enumerate(spec.tiles())
    ]
    shape = len(tiles), *spec.size(tiles.shape[1]), tiles.shape[3]
    document = {"digest": spec.digest, "shape": shape, "range": [0, 255], "images": images}
    return json.dumps(document, separators=(",", ":")).encode()


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
