"""What a picture file begins with, on both sides."""

import pytest

from contract.pictures import HEAD_BYTES, begins_like_picture

HEADS = [
    b"\x89PNG\r\n\x1a\n",
    b"\x89PNG\n\x1a\n",  # as a transfer in text mode leaves it: damaged, but a picture
    b"\xff\xd8\xff\xe0JFIF",
    b"GIF89a",
    b"BM....",
    b"RIFF....WEBPVP8 ",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"II+\0\x08\0\0\0",
    b"MM\0+\0\x08\0\0",
    b"P1\n8 8\n",
    b"P6 8 8 255\n",
]
OTHERS = [b"", b"P", b"P6", b"P7\n", b"Python", b"RIFF....WAVEfmt ", b"\0\0\0\x20ftypavif", b"Copyright"]


@pytest.mark.parametrize("head", HEADS)
def test_picture_is_recognised_by_its_first_bytes(head: bytes) -> None:
    assert begins_like_picture((head + b"\0" * HEAD_BYTES)[:HEAD_BYTES])


@pytest.mark.parametrize("head", OTHERS)
def test_other_content_is_not_taken_for_a_picture(head: bytes) -> None:
    assert not begins_like_picture(head)
