"""The first look at an upload, on archives made by users and by attackers."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import ErrorCode, ServiceError
from service import archive

Judge = Callable[[bytes], ErrorCode | None]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return buffer.getvalue()


def placed_by(extra: bytes) -> bytes:
    """An archive of one picture, whose offset is given in these extra fields."""
    name = b"one.png"
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 0, 0, 9, 9, len(name), 0) + name + PNG
    fixed = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 0, 0, 0, 0, 9, 9, len(name), len(extra), 0, 0, 0, 0, 2**32 - 1
    )
    directory = fixed + name + extra
    return local + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(local), 0)


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    def verdict(content: bytes) -> ErrorCode | None:
        path = tmp_path / "upload.zip"
        path.write_bytes(content)
        try:
            archive.inspect(path)
        except ServiceError as error:
            return error.code
        return None

    return verdict


@pytest.mark.parametrize("method", METHODS)
def test_picture_is_recognised_by_its_content_with_any_compression(judge: Judge, method: int) -> None:
    assert judge(zipped({"notes.txt": b"hello", "deep/er/photo.dat": PNG}, method)) is None


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bzip2_and_lzma_entries_are_not_unpacked_by_the_gateway(judge: Judge, method: int) -> None:
    packed = zipped({"notes.txt": b"hello"}, method)
    assert judge(packed) is None  # the preparer decides
    assert judge(packed.replace(b"BZh", b"BZ0").replace(b"PK\3\4", b"PK\3\5")) is ErrorCode.NO_IMAGES


def test_search_for_a_picture_is_left_to_the_preparer_after_too_many_other_files(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_FILES_LOOKED_INTO", 3)
    assert judge(zipped({f"{number}.txt": b"hello" for number in range(3)})) is ErrorCode.NO_IMAGES
    assert judge(zipped({f"{number}.txt": b"hello" for number in range(4)})) is None


@pytest.mark.parametrize(
    "head",
    [
        PNG,
        b"\xff\xd8\xff\xe0JFIF",
        b"GIF89a",
        b"II+\0\x08\0\0\0",
        b"MM\0+\0\x08\0\0",
        b"BM....",
        b"RIFF....WEBPVP8 ",
        b"II*\0....",
        b"P6\n8 8\n255\n",
    ],
)
def test_common_formats_are_recognised(judge: Judge, head: bytes) -> None:
    assert judge(zipped({"one": head + b"\0" * 20})) is None


@pytest.mark.parametrize(
    "name", ["__MACOSX/._one.png", ".hidden.png", "folder/.DS_Store", ".git/one.png", "folder/"]
)
def test_directories_and_hidden_files_do_not_count(judge: Judge, name: str) -> None:
    assert judge(zipped({name: b"" if name.endswith("/") else PNG})) is ErrorCode.NO_IMAGES


@pytest.mark.parametrize("name", ["./one.png", "../one.png"])
def test_picture_counts_whatever_its_directory(judge: Judge, name: str) -> None:
    assert judge(zipped({name: PNG})) is None


@pytest.mark.parametrize("content", [b"hello", b"\0\0\0\x20ftypavif" + b"\0" * 20])
def test_content_that_the_preparer_cannot_read_is_no_picture_whatever_its_name(
    judge: Judge, content: bytes
) -> None:
    assert judge(zipped({"one.png": content})) is ErrorCode.NO_IMAGES


def test_an_empty_archive_holds_no_images(judge: Judge) -> None:
    assert judge(zipped({})) is ErrorCode.NO_IMAGES


@pytest.mark.parametrize("content", [b"x", b"hello" * 100, PNG, b"PK\3\4" + b"\0" * 100])
def test_other_content_is_not_a_zip(judge: Judge, content: bytes) -> None:
    assert judge(content) is ErrorCode.NOT_A_ZIP


def test_archive_truncated_at_any_byte_is_refused(judge: Judge) -> None:
    whole = zipped({"one.png": PNG, "two.png": PNG})
    assert {judge(whole[:length]) for length in range(1, len(whole))} == {ErrorCode.NOT_A_ZIP}


def test_damage_to_any_byte_causes_no_crash(judge: Judge) -> None:
    whole = zipped({"one.png": PNG, "two.png": PNG})
    allowed = {None, ErrorCode.NOT_A_ZIP, ErrorCode.NO_IMAGES, ErrorCode.ARCHIVE_TOO_LARGE}
    for index in range(len(whole)):
        for value in (0, 0xFF):
            assert judge(whole[:index] + bytes([value]) + whole[index + 1 :]) in allowed


def test_zip_appended_to_a_program_is_read(judge: Judge) -> None:
    assert judge(b"#!/bin/sh\nunzip me\n" + zipped({"one.png": PNG})) is None


def test_a_zip64_archive_is_read(judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as made, made.open("one.png", "w", force_zip64=True) as member:
        member.write(PNG)
    assert judge(path.read_bytes()) is None


def test_archive_with_a_zip64_directory_record_is_read(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)  # instead of 65,535
    content = zipped({"1": b"", "2": b"", "last.png": PNG})
    assert b"PK\6\6" in content
    assert judge(content) is None


def test_zip64_record_beyond_the_end_of_the_file_is_refused(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    whole = zipped({"1": b"", "one.png": PNG})
    for end in (len(whole), 2**40, 2**62, 2**63, 2**64 - 1):
        content = bytearray(whole)
        struct.pack_into("<Q", content, content.find(b"PK\6\7") + 8, end)
        assert judge(bytes(content)) is ErrorCode.NOT_A_ZIP


@pytest.mark.parametrize("offset", [2**40, 2**62, 2**63 - 1, 2**64 - 1])
def test_picture_beyond_the_end_of_the_file_does_not_count(judge: Judge, offset: int) -> None:
    assert judge(placed_by(struct.pack("<HHQ", 1, 8, offset))) is ErrorCode.NO_IMAGES


@pytest.mark.parametrize(("fields", "verdict"), [(10, None), (16_000, ErrorCode.NO_IMAGES)])
def test_offset_behind_far_too_many_extra_fields_is_not_found(
    judge: Judge, fields: int, verdict: ErrorCode | None
) -> None:
    assert judge(placed_by(struct.pack("<HH", 2, 0) * fields + struct.pack("<HHQ", 1, 8, 0))) is verdict


def test_archive_that_unpacks_to_too_much_is_refused(judge: Judge) -> None:
    content = bytearray(zipped({f"{number}.png": PNG for number in range(20)}))
    position = 0
    while (position := content.find(b"PK\1\2", position + 1)) > 0:
        struct.pack_into("<L", content, position + 24, 0xFFFFFFF0)  # 4 GiB each, unpacked
    assert judge(bytes(content)) is ErrorCode.ARCHIVE_TOO_LARGE


def test_too_many_entries_are_refused(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    assert judge(zipped({f"{number}.png": PNG for number in range(4)})) is ErrorCode.ARCHIVE_TOO_LARGE


def test_an_encrypted_picture_does_not_count(judge: Judge) -> None:
    content = bytearray(zipped({"one.png": PNG}))
    content[content.find(b"PK\1\2") + 8] |= 1
    assert judge(bytes(content)) is ErrorCode.NO_IMAGES
