"""POST /png-info: reads back how a PNG was made; malicious files do no harm."""

import io
import socket
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from contract.job import CheckpointFact
from contract.sampling import SampleSpec
from service.png_text import MAX_CHUNKS, MAX_TEXT_BYTES
from service.routes.png_info import MAX_PNG_BYTES
from tests.service.problems import refused
from worker.formats.png import encode_png

DIGEST = "sha256:" + "5" * 64
SIGNATURE = b"\x89PNG\r\n\x1a\n"
TILES = np.zeros((6, 8, 8, 1), dtype=np.uint8)


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


HEAD = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
END = chunk(b"IEND")
RECIPE = chunk(b"tEXt", b'dcgan:spec\0{"digest":"' + DIGEST.encode() + b'","seed":7}')


def sent(client: httpx.Client, content: bytes | Iterator[bytes], kind: str = "image/png") -> httpx.Response:
    return client.post("/png-info", content=content, headers={"content-type": kind})


def test_recipe_of_a_picture_is_read_back(client: httpx.Client, finished: CheckpointFact) -> None:
    spec = SampleSpec(digest=finished.digest, seed=7, count=6, columns=2, scale=3)
    assert sent(client, encode_png(TILES, spec)).json() == {
        "digest": finished.digest,
        "seeds": [7, 8, 9, 10, 11, 12],
        "options": {"columns": 2, "scale": 3},
        "url": f"/samples?model={finished.digest}&seed=7&count=6&columns=2&scale=3&format=png",
        "body": None,
        "is_known": True,
    }


def test_foreign_generator_is_reported_as_unknown(client: httpx.Client) -> None:
    told = sent(client, encode_png(TILES[:1], SampleSpec(digest=DIGEST, seed=7))).json()
    assert (told["digest"], told["is_known"]) == (DIGEST, False)


def test_picture_from_a_version_without_options_is_read(client: httpx.Client) -> None:
    texts = {"dcgan:digest": DIGEST, "dcgan:seed": "7", "dcgan:count": "4", "dcgan:url": "javascript:x"}
    content = b"".join(chunk(b"tEXt", f"{word}\0{text}".encode()) for word, text in texts.items())
    told = sent(client, HEAD + content + END).json()
    assert told["url"] == f"/samples?model={DIGEST}&seed=7&count=4&format=png"


def test_texts_that_another_program_has_moved_behind_the_image_data_are_found(client: httpx.Client) -> None:
    picture = chunk(b"IDAT", zlib.compress(bytes(72)))
    international = chunk(b"iTXt", b'dcgan:spec\0\0\0en\0\0{"digest":"' + DIGEST.encode() + b'","seed":7}')
    for recipe in (RECIPE, international):
        assert sent(client, HEAD + picture + recipe + END).json()["seeds"] == [7]


def test_png_without_a_recipe_is_refused(client: httpx.Client) -> None:
    buffer = io.BytesIO()
    texts = PngInfo()
    texts.add_text("Title", "A holiday")
    Image.new("RGB", (9, 9)).save(buffer, "png", pnginfo=texts)
    refused(sent(client, buffer.getvalue()), 422, "no_recipe")


@pytest.mark.parametrize(
    "recipe",
    [b"{", b"[" * 100_000, b"{}", b'{"digest":"sha256:1","seed":7}', b'{"seed":7,"digest":"%s","beauty":9}'],
)
def test_invalid_recipe_is_refused(client: httpx.Client, recipe: bytes) -> None:
    refused(sent(client, HEAD + chunk(b"tEXt", b"dcgan:spec\0" + recipe) + END), 422, "no_recipe")


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a" + bytes(20),
        SIGNATURE,
        HEAD,
        HEAD + RECIPE,
        (HEAD + RECIPE + END)[:-1],
        HEAD + RECIPE[:-1] + b"?" + END,
        SIGNATURE + RECIPE + HEAD[8:] + END,
        HEAD + HEAD[8:] + RECIPE + END,
        HEAD + struct.pack(">I4s", 2**32 - 1, b"tEXt"),
        HEAD + struct.pack(">I4s", 2**32 - 1, b"IDAT"),
        HEAD + chunk(b"tEXt", bytes(MAX_TEXT_BYTES)) + RECIPE + END,
        HEAD + chunk(b"tIME") * MAX_CHUNKS + END,
    ],
    ids=range(12),
)
def test_incomplete_or_invalid_png_is_refused(client: httpx.Client, content: bytes) -> None:
    refused(sent(client, content), 422, "not_a_png")


def test_compressed_texts_are_never_unpacked(client: httpx.Client) -> None:
    """Each takes 64 kilobytes and unpacks to 64 megabytes, more than all else in this process allocates."""
    bomb = zlib.compress(bytes(2**26), 9)
    zipped = chunk(b"zTXt", b"dcgan:spec\0\0" + bomb)
    international = chunk(b"iTXt", b"dcgan:spec\0\1\0\0\0" + bomb)
    tracemalloc.start()
    try:
        assert sent(client, HEAD + (zipped + international) * 4 + RECIPE + END).json()["seeds"] == [7]
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["image/jpeg", "application/json", "multipart/form-data; boundary=x", ""])
def test_other_media_types_are_refused(client: httpx.Client, kind: str) -> None:
    refused(sent(client, HEAD + RECIPE + END, kind), 415, "unsupported_media_type")


def test_empty_body_is_refused(client: httpx.Client) -> None:
    refused(sent(client, b""), 422, "body_empty")


def test_declared_length_over_the_limit_is_refused_before_the_body_is_read(gateway_url: str) -> None:
    place = urlsplit(gateway_url)
    head = f"POST /png-info HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {MAX_PNG_BYTES + 1}\r\n\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()  # to the end, as the gateway closes the connection
    assert answer.startswith(b"HTTP/1.1 413")


def test_chunked_body_that_grows_too_large_is_refused(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.png_info.MAX_PNG_BYTES", 10_000)
    pieces = (HEAD + chunk(b"IDAT", bytes(20_000)) + RECIPE + END for _ in range(1))
    refused(sent(client, pieces), 413, "body_too_large")


def test_file_larger_than_the_limit_for_json_is_read(client: httpx.Client) -> None:
    content = HEAD + RECIPE + chunk(b"IDAT", bytes(2**21)) + END + b"trailing"
    assert sent(client, content, "application/octet-stream").json()["seeds"] == [7]
