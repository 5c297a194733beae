"""The program as ONNX, from `latents` to `images`: many runtimes compute it, each in its way."""

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
"""Of images in [-1, 1], whose pixels are 8e-3 apart. ONNX Runtime sums in another order: some 4e-6."""


def make(generator: Generator, description: str) -> Exported:
    """The model, and what ONNX Runtime computes of it.

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
    """The last of these packages."""
    try:
        return [importlib.import_module(name) for name in names][-1]
    except ImportError as error:
        detail = (
            f"The trainer cannot make ONNX: {error}. Install its extra, pip install '.[onnx]' in a "
            "checkout, or take torch-export or safetensors."
        )
        raise ServiceError(ErrorCode.EXPORT_UNAVAILABLE, detail) from None
