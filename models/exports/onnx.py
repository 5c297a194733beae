"""The program as ONNX, from `latents` to `images`. Runtimes may each round differently."""

import importlib
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from contract.errors import ErrorCode, ServiceError
from models.exports.description import KEY
from models.exports.exported import Exported
from models.exports.torch_export import traced
from models.networks.pair import Generator

TOLERANCE = 1e-4
"""Pixel levels are 8e-3 apart in [-1, 1]. ONNX Runtime sums in another order, which costs some 4e-6."""


def make(generator: Generator, description: str) -> Exported:
    """Export the model, to be run by ONNX Runtime.

    Raises:
        ServiceError: `export_unavailable`.
    """
    runtime = _require("onnx", "onnxscript", "onnxruntime")
    program = torch.onnx.export(
        traced(generator), input_names=["latents"], output_names=["images"], dynamo=True, verbose=False
    )
    assert program is not None
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, description
    content: bytes = model.SerializeToString()
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(latents: NDArray[np.float32]) -> NDArray[np.float32]:
        images: NDArray[np.float32] = session.run(["images"], {"latents": latents})[0]
        return images

    return Exported(content, run, TOLERANCE)


def _require(*names: str) -> ModuleType:
    """Import these packages and return the last."""
    try:
        return [importlib.import_module(name) for name in names][-1]
    except ImportError as error:
        detail = (
            f"The trainer cannot make ONNX: {error}. Install its extra, pip install '.[onnx]' in a "
            "checkout, or take torch-export or safetensors."
        )
        raise ServiceError(ErrorCode.EXPORT_UNAVAILABLE, detail) from None
