import io
import struct
import zlib
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image, ImageOps

from contract.dataset import Fit
from models.datasets.pictures import (
    UnusablePictureError,
    decode,
    is_grey,
    looks_like_picture,
    require_faithful,
    square,
)

GREY = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
COLOUR = Image.merge("RGB", (GREY, GREY.rotate(90), GREY.rotate(180)))


def encoded(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("picture", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_preserve_the_pixels(picture: Image.Image, form: str) -> None:
    assert same(decode(encoded(picture, form)), picture)


def test_palette_becomes_colour() -> None:
    assert same(decode(encoded(COLOUR.quantize(256))), COLOUR.quantize(256).convert("RGB"))


def test_one_bit_becomes_grey() -> None:
    assert set(np.asarray(decode(encoded(GREY.convert("1")))).flat) == {0, 255}


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_whole_range(form: str) -> None:
    deep = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
    assert same(decode(encoded(deep, form)), GREY)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate"])
def test_tiff_whose_white_is_zero_is_read_as_it_looks(depth: int, orientation: int, compression: str) -> None:
    shades = np.asarray(ImageOps.invert(GREY))
    negative = Image.fromarray(shades if depth == 8 else shades.astype(np.uint16) * 257)
    content = encoded(negative, "TIFF", compression=compression, tiffinfo={274: orientation})
    content = with_tags(content, {262: 0})
    assert same(decode(content), GREY if orientation == 1 else GREY.transpose(Image.Transpose.ROTATE_270))


def test_twelve_bits_of_a_tiff_are_the_whole_range() -> None:
    bits = "".join(f"{int(shade) * 4095 // 255:012b}" for shade in np.asarray(GREY).flat)
    packed = np.frombuffer(int(bits, 2).to_bytes(96), dtype=np.uint8).reshape(8, 12)
    content = with_tags(encoded(Image.fromarray(packed), "TIFF"), {256: 8, 258: 12})
    assert same(decode(content), GREY)


def with_tags(tiff: bytes, values: Mapping[int, int]) -> bytes:
    """A little-endian TIFF with other values of some of its tags."""
    content = bytearray(tiff)
    (start,) = struct.unpack_from("<L", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", content, entry)
        if tag in values:
            struct.pack_into("<L", content, entry + 8, values[tag])
    return bytes(content)


def test_cmyk_becomes_colour() -> None:
    assert decode(encoded(COLOUR.convert("CMYK"), "JPEG")).mode == "RGB"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_are_white(mode: str) -> None:
    see_through = Image.new("RGBA", (4, 4), (10, 200, 30, 0)).convert(mode)
    assert set(np.asarray(decode(encoded(see_through, "TIFF" if mode == "PA" else "PNG"))).flat) == {255}


def test_transparent_palette_entry_is_white() -> None:
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([0, 0, 0, 0, 0, 255])
    indexed.putpixel((1, 0), 1)
    assert np.asarray(decode(encoded(indexed, transparency=0))).tolist() == [[[255] * 3, [0, 0, 255]]]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_transparent_shade_of_grey_is_white(kind: type[np.unsignedinteger]) -> None:
    shades = np.array([[10, 200, 11]], dtype=kind) * kind(np.iinfo(kind).max // 255)
    content = encoded(Image.fromarray(shades), transparency=int(shades[0, 0]))
    assert np.asarray(decode(content)).tolist() == [[255, 200, 11]]


@pytest.mark.parametrize(
    ("bits", "kind", "row", "transparent", "seen"),
    [
        (2, 0, bytes([0b01_10_01_00]), (1,), [255, 170, 255, 0]),
        (4, 0, bytes([0x56, 0x50]), (5,), [255, 102, 255, 0]),
        (
            16,
            2,
            struct.pack(">12H", *[0x1234] * 3, *[0x3434] * 3, *[0x1234] * 3, *[0] * 3),
            (0x1234,) * 3,
            [[255] * 3, [0x34] * 3, [255] * 3, [0] * 3],
        ),
    ],
    ids=["2-bit grey", "4-bit grey", "16-bit colour"],
)
def test_transparent_colour_of_another_depth_is_white(
    bits: int, kind: int, row: bytes, transparent: tuple[int, ...], seen: list[object]
) -> None:
    shade = (b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    assert np.asarray(decode(line_of_four(bits, kind, row, shade))).tolist() == [seen]


def line_of_four(bits: int, kind: int, row: bytes, *between: tuple[bytes, bytes]) -> bytes:
    """A PNG of 4 x 1 pixels, with these chunks before its pixels."""
    head = (b"IHDR", struct.pack(">LL5B", 4, 1, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        for name, data in (head, *between, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b""))
    )


def test_half_transparent_pixel_is_halfway_to_white() -> None:
    veil = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert decode(encoded(veil)).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_every_transparency_of_every_shade_matches_alpha_compositing(mode: str) -> None:
    shades, opacities = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    grey, alpha = Image.fromarray(shades), Image.fromarray(opacities)
    veil = Image.merge("RGBA", (grey, grey.rotate(90), grey.rotate(180), alpha)).convert(mode)
    white = Image.new("RGBA", veil.size, "white")
    flat = Image.alpha_composite(white, veil.convert("RGBA")).convert("L" if mode == "LA" else "RGB")
    assert same(decode(encoded(veil, "TIFF")), flat)


def test_animation_is_its_first_frame() -> None:
    frames = [Image.new("L", (4, 4), shade) for shade in (10, 200)]
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decode(animated)).mean() == 10


def test_photo_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° to see it upright
    assert decode(encoded(Image.new("RGB", (4, 2)), "JPEG", exif=exif)).size == (2, 4)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(COLOUR.resize((16, 8)), form, exif=exif)
    with Image.open(io.BytesIO(content)) as opened:
        assert same(decode(content), ImageOps.exif_transpose(opened).convert("RGB"))


@pytest.mark.parametrize("tag", [0x011A, 0x0100], ids=["x_resolution", "image_width"])
def test_picture_with_malformed_exif_is_turned_upright(tag: int) -> None:
    entries = sorted([struct.pack("<HHI4s", tag, 2, 4, b"abc\0"), struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)])
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(entries) + bytes(4)
    content = encoded(Image.new("RGB", (4, 2)), "JPEG", exif=exif)
    with Image.open(io.BytesIO(content)) as opened, pytest.raises((struct.error, TypeError)):
        ImageOps.exif_transpose(opened)
    assert decode(content).size == (2, 4)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_file_is_refused(form: str) -> None:
    content = encoded(COLOUR.resize((64, 64)), form)
    with pytest.raises(UnusablePictureError):
        decode(content[: len(content) // 2])


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"hello", b"\xff\xd8\xff" + bytes(100)])
def test_rubbish_is_refused_with_a_sentence(content: bytes) -> None:
    with pytest.raises(UnusablePictureError, match=r"^It .*\.$"):
        decode(content)


def with_letters_for_the_place_of_its_pixels() -> bytes:
    content = bytearray(encoded(GREY, "TIFF"))
    (start,) = struct.unpack_from("<L", content, 4)
    struct.pack_into("<H", content, content.index(struct.pack("<H", 273), start) + 2, 2)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "raised"),
    [
        (line_of_four(8, 3, bytes(4)), AssertionError),
        (with_letters_for_the_place_of_its_pixels(), TypeError),
    ],
    ids=["PNG without its palette", "TIFF with letters for numbers"],
)
def test_file_on_which_pillow_fails_as_by_a_mistake_of_its_own_is_refused(
    content: bytes, raised: type[Exception]
) -> None:
    with pytest.raises(UnusablePictureError, match=r"^It is damaged or cut off \(.+\)\.$") as refusal:
        decode(content)
    assert isinstance(refusal.value.__cause__, raised)


def test_lack_of_memory_is_not_blamed_on_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(MemoryError):
        decode(encoded(GREY))


def numbers(kind: type[np.generic]) -> Image.Image:
    return Image.fromarray(np.arange(64, dtype=kind).reshape(8, 8))


def test_tiff_of_floats_is_refused() -> None:
    with pytest.raises(UnusablePictureError, match="range nobody knows"):
        decode(encoded(numbers(np.float32), "TIFF"))


def test_tiff_of_large_integers_is_refused_in_new_datasets_and_read_in_old_ones() -> None:
    content = encoded(numbers(np.int32), "TIFF")
    with pytest.raises(UnusablePictureError, match="range nobody knows"):
        require_faithful(content)
    assert decode(content).size == (8, 8)
    for form in ("PNG", "TIFF"):
        require_faithful(encoded(numbers(np.uint16), form))


def test_tiff_of_signed_bytes_is_refused_in_new_datasets_and_read_in_old_ones() -> None:
    content = with_tags(encoded(GREY, "TIFF", tiffinfo={339: 1}), {339: 2})
    with pytest.raises(UnusablePictureError, match="range nobody knows"):
        require_faithful(content)
    assert decode(content).size == (8, 8)


@pytest.mark.parametrize(
    "tags",
    [{258: 16, 256: 4}, {258: 4, 256: 16}, {258: 2, 256: 32}, {262: 0}, {266: 2}],
    ids=["deep", "of 4 bits", "of 2 bits", "negative", "fill order"],
)
def test_tiff_whose_planes_are_misread_is_refused_in_new_datasets(tags: Mapping[int, int]) -> None:
    for compression, planes in [("raw", 1), ("raw", 2), ("tiff_lzw", 2)]:
        usual = encoded(GREY, "TIFF", compression=compression, tiffinfo={284: 1, 266: 1})
        require_faithful(with_tags(usual, {284: planes}))
        content = with_tags(usual, {284: planes, **tags})
        if (compression, planes) == ("raw", 2):
            with pytest.raises(UnusablePictureError, match="save it with LZW"):
                require_faithful(content)
        else:
            require_faithful(content)


def test_huge_picture_is_refused_before_it_is_decoded() -> None:
    small = bytearray(encoded(Image.new("1", (8, 8))))
    small[16:24] = (60_000).to_bytes(4, "big") * 2  # the size in IHDR; the next line corrects its checksum
    small[29:33] = zlib.crc32(small[12:29]).to_bytes(4, "big")
    with pytest.raises(UnusablePictureError, match="pixels"):
        decode(bytes(small))


def test_equal_channels_count_as_grey() -> None:
    assert is_grey(GREY)
    assert is_grey(GREY.convert("RGB"))
    assert not is_grey(COLOUR)


@pytest.mark.parametrize("name", ["a.PNG", "b.jpeg", "c.heic", "d/e.svg"])
def test_file_with_a_picture_suffix_looks_like_a_picture(name: str) -> None:
    assert looks_like_picture(name, b"")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_file_with_a_picture_signature_looks_like_a_picture(form: str) -> None:
    assert looks_like_picture("no-suffix", encoded(COLOUR, form)[:16])


@pytest.mark.parametrize("name", ["LICENSE.txt", "README", "labels.csv"])
def test_other_files_do_not_look_like_pictures(name: str) -> None:
    assert not looks_like_picture(name, b"Copyright")


@pytest.mark.parametrize("size", [(8, 8), (20, 8), (8, 20), (1, 1), (300, 7)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_every_fit_gives_a_square(fit: Fit, size: tuple[int, int]) -> None:
    assert square(COLOUR.resize(size), 32, fit).size == (32, 32)


def test_crop_takes_the_middle() -> None:
    picture = Image.new("L", (30, 10), 0)
    picture.paste(255, (10, 0, 20, 10))
    assert set(np.asarray(square(picture, 10, "crop")).flat) == {255}


def test_pad_continues_the_edges() -> None:
    assert set(np.asarray(square(Image.new("L", (30, 10), 77), 32, "pad")).flat) == {77}


def test_shrinking_averages() -> None:
    checkered = Image.fromarray((np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8))
    assert np.abs(np.asarray(square(checkered, 32, "crop")).astype(int) - 127).max() <= 2
