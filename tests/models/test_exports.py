"""Exported generators give the images that the service gives, for every family and any batch."""

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from contract.errors import ErrorCode, ServiceError
from models import exports, networks, priors
from models.checkpoint import load_checkpoint
from models.environment import detect
from models.exports import torch_export
from models.exports.exported import Exported
from models.latents import latents
from models.sampler import Sampler
from tests.models.checkpoints import KINDS, write


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A checkpoint of each family, with batch-norm statistics as after training."""
    return write(tmp_path_factory.mktemp("exports") / "generator.safetensors", request.param)


@pytest.fixture(scope="module")
def torch_archive(checkpoint: tuple[Path, str]) -> bytes:
    return exports.make("torch-export", *checkpoint)


def served(path: Path, digest: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The latents of the first seeds, and the floats that the service renders from them."""
    environment = detect("cpu", 1, "float32")
    environment.apply()
    generator, header = load_checkpoint(path, digest)
    drawn = latents(range(count), generator.latent_size, priors.build(header.spec.prior))
    return drawn, Sampler(generator, header, environment).render_floats(range(count))


def test_torch_program_matches_the_service_bit_for_bit(
    checkpoint: tuple[Path, str], torch_archive: bytes
) -> None:
    told = {"dcgan.json": ""}
    program = torch.export.load(io.BytesIO(torch_archive), extra_files=told).module()
    drawn, images = served(*checkpoint, 16)
    with torch.inference_mode():
        assert torch.equal(program(torch.from_numpy(drawn)), torch.from_numpy(images))
    description = json.loads(told["dcgan.json"])
    assert description["digest"] == checkpoint[1]
    assert description["latents"]["shape"] == ["batch", drawn.shape[1]]
    assert description["latents"]["prior"] == {"kind": "normal"}


def test_torch_archive_holds_weights_as_plain_bytes_and_no_pickle(torch_archive: bytes) -> None:
    archive = zipfile.ZipFile(io.BytesIO(torch_archive))
    assert [name for name in archive.namelist() if "/weights/weight_" in name]
    might_be = [entry for entry in archive.infolist() if entry.filename.endswith((".pt", ".pkl"))]
    assert [entry.file_size for entry in might_be] == [0]  # where the example input would be


def test_onnx_runtime_matches_the_service_closely(checkpoint: tuple[Path, str]) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    content = exports.make("onnx", *checkpoint)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for count in (1, 5, 16):
        drawn, images = served(*checkpoint, count)
        assert np.abs(session.run(None, {"latents": drawn})[0] - images).max() < 1e-4
    assert json.loads(session.get_modelmeta().custom_metadata_map["dcgan"])["digest"] == checkpoint[1]


def test_onnx_without_its_packages_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ServiceError, match=r"\.\[onnx\]") as refusal:
        exports.make("onnx", *write(tmp_path / "g.safetensors", KINDS[0]))
    assert refusal.value.code is ErrorCode.EXPORT_UNAVAILABLE


def test_program_that_gives_different_images_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = write(tmp_path / "g.safetensors", KINDS[0])

    def wrong(generator: networks.pair.Generator, description: str) -> Exported:
        def run(drawn: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode():
                images: NDArray[np.float32] = generator(torch.from_numpy(drawn)).numpy()
            return images + np.float32(1e-4)

        return Exported(b"", run, torch_export.ROUNDING)

    monkeypatch.setitem(exports.MAKERS, "torch-export", wrong)
    with pytest.raises(RuntimeError, match="differ"):
        exports.make("torch-export", path, digest)
