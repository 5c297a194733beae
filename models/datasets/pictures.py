"""Decode untrusted picture files to 8-bit grey or RGB, and fit them to squares."""

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    FILLORDER,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    TiffImageFile,
)

from contract.dataset import Fit
from contract.pictures import begins_like_picture

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 64 * 1024 * 1024
"""Decoding this many takes 0.5 to 1 GiB, 8 to 16 bytes each. Even a small file can claim any size."""

_READABLE = "png apng jpg jpeg jpe jfif webp gif bmp dib tif tiff ppm pgm pbm pnm"
_OTHERS = "heic heif avif jp2 jxl svg psd ico tga exr hdr dng cr2 nef arw"
_SUFFIXES = frozenset(f".{name}" for name in f"{_READABLE} {_OTHERS}".split())
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_WHITE_IS_ZERO, _SIGNED, _IN_PLANES = 0, 2, 2
_EIGHT_OF_SIXTEEN_BITS = [(value * 255 + 32767) // 65535 for value in range(65536)]
_EIGHT_OF_TWELVE_BITS = [min((value * 255 + 2047) // 4095, 255) for value in range(65536)]
_STEPS_OF_FEW_BITS = {"L;2": 85, "L;4": 17}
_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transpose that turns a picture upright, by its EXIF orientation."""


class UnusablePictureError(Exception):
    """The file is not a usable picture; the message gives the reason as a sentence."""


def looks_like_picture(name: str, beginning: bytes) -> bool:
    """Whether the name or the first bytes claim a picture, even in an unsupported format."""
    return PurePosixPath(name).suffix.lower() in _SUFFIXES or begins_like_picture(beginning)


def decode(content: bytes) -> Image.Image:
    """Decode the first frame, upright, in mode L or RGB; transparency is replaced by white.

    Raises:
        UnusablePictureError: it is truncated, damaged, too large, or in an unsupported format.
    """
    with _opened(content) as picture:
        _scale_transparent_colour(picture)
        picture.load()  # some formats know their EXIF or their size only after this
        return _turned(_eight_bits(picture), _orientation(picture))


def claimed_pixels(content: bytes) -> int:
    """The number of pixels that the picture claims, at most `MAX_PIXELS`. Decodes none of them.

    Raises:
        UnusablePictureError: it is too large, damaged, or in an unsupported format.
    """
    with _opened(content) as picture:
        return picture.width * picture.height


def require_faithful(content: bytes) -> None:
    """Check, for a new dataset, that `decode` gives the picture as it is. Older datasets have others.

    Raises:
        UnusablePictureError: it is a TIFF that Pillow would misread.
    """
    with _opened(content) as picture:
        if isinstance(picture, TiffImageFile):
            _require_known_range(picture)
            _require_usual_planes(picture)


def is_grey(picture: Image.Image) -> bool:
    """Whether the picture has one channel, or three equal ones."""
    if picture.mode == "L":
        return True
    red, green, blue = np.moveaxis(np.asarray(picture), 2, 0)
    return bool((red == green).all() and (green == blue).all())


def square(picture: Image.Image, resolution: int, fit: Fit) -> Image.Image:
    """Fit the picture to resolution × resolution pixels."""
    return _FITS[fit](picture, resolution)


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open the picture without decoding it, and translate Pillow's errors into a sentence."""
    if not content:
        raise UnusablePictureError("It is empty.")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _refuse_giants(picture)
            yield picture
    except UnidentifiedImageError as error:
        raise UnusablePictureError(
            f"It is damaged, or not in a format that is read here: {', '.join(FORMATS)}."
        ) from error
    except Image.DecompressionBombError as error:
        raise UnusablePictureError(_too_large()) from error
    except (UnusablePictureError, MemoryError):
        raise
    except Exception as error:  # Pillow does not say what else its decoders raise
        raise UnusablePictureError(
            f"It is damaged or cut off ({str(error) or type(error).__name__})."
        ) from error


def _refuse_giants(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise UnusablePictureError(_too_large())


def _require_known_range(picture: TiffImageFile) -> None:
    """32-bit integers would be clipped, and signed bytes be taken for unsigned ones."""
    if picture.mode == "I" or _SIGNED in picture.tag_v2.get(SAMPLEFORMAT, ()):
        raise UnusablePictureError("Its pixels are 32-bit or signed integers, whose range nobody knows.")


def _require_usual_planes(picture: TiffImageFile) -> None:
    """Pillow takes planes apart by the names of their channels alone, unless libtiff does it."""
    tags = picture.tag_v2
    is_usual = (
        set(tags.get(BITSPERSAMPLE, (1,))) <= {1, 8}
        and tags.get(PHOTOMETRIC_INTERPRETATION) != _WHITE_IS_ZERO
        and tags.get(FILLORDER, 1) == 1
    )
    if tags.get(PLANAR_CONFIGURATION) == _IN_PLANES and picture.info["compression"] == "raw" and not is_usual:
        raise UnusablePictureError(
            "Its channels are stored one after another in a way that is not read here; save it with LZW."
        )


def _too_large() -> str:
    return f"It has more than {MAX_PIXELS:,} pixels."


def _scale_transparent_colour(picture: ImageFile.ImageFile) -> None:
    """Scale the transparent colour of a PNG to 8 bits, as Pillow scales the pixels that it compares with it.

    Of 16-bit colours, all that are equal in 8 bits become transparent. 16-bit grey stays as it is.
    """
    if picture.format != "PNG" or "transparency" not in picture.info:
        return
    colour, packed = picture.info["transparency"], picture.tile[0].args
    if packed in _STEPS_OF_FEW_BITS:
        picture.info["transparency"] = colour * _STEPS_OF_FEW_BITS[packed]
    elif packed == "RGB;16B":
        picture.info["transparency"] = tuple(value >> 8 for value in colour)


def _turned(picture: Image.Image, orientation: object) -> Image.Image:
    """Apply the EXIF orientation. `ImageOps.exif_transpose` also rewrites it, and fails on malformed EXIF."""
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _orientation(picture: Image.Image) -> object:
    try:
        return picture.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, struct.error):
        return None


def _eight_bits(picture: Image.Image) -> Image.Image:
    if picture.mode in _SIXTEEN_BITS or picture.mode == "I":
        return _from_sixteen_bits(picture)
    if picture.mode == "F":
        raise UnusablePictureError("Its pixels are floating-point numbers, whose range nobody knows.")
    if picture.has_transparency_data:
        return _on_white(picture)
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def _from_sixteen_bits(picture: Image.Image) -> Image.Image:
    """Scale grey of 0 … 65535 (or 4095) to 8 bits; `convert` would clip it at 255."""
    return _in_mode("I", picture).point(_shades(picture), "L")


def _shades(picture: Image.Image) -> list[int]:
    """The 8-bit shade of each value. In 8 bits, Pillow itself heeds a negative and a transparent shade."""
    tags = picture.tag_v2 if isinstance(picture, TiffImageFile) else {}
    shades = _EIGHT_OF_TWELVE_BITS if tags.get(BITSPERSAMPLE) == (12,) else _EIGHT_OF_SIXTEEN_BITS
    if tags.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        shades = [255 - shade for shade in shades]
    if "transparency" in picture.info:
        shades = shades.copy()
        shades[picture.info["transparency"]] = 255
    return shades


def _on_white(picture: Image.Image) -> Image.Image:
    mode, layers = ("L", "LA") if picture.mode in ("LA", "La", "L", "1") else ("RGB", "RGBA")
    flat, layered = Image.new(mode, picture.size, "white"), _in_mode(layers, picture)
    flat.paste(layered, mask=layered)
    return flat


def _in_mode(mode: str, picture: Image.Image) -> Image.Image:
    """Convert only if needed: `convert` copies a picture that already has the mode, 4 bytes per pixel."""
    return picture if picture.mode == mode else picture.convert(mode)


def _crop(picture: Image.Image, resolution: int) -> Image.Image:
    """Crop to the largest centred square."""
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    return _resized(picture, (resolution, resolution), (left, top, left + side, top + side))


def _stretch(picture: Image.Image, resolution: int) -> Image.Image:
    return _resized(picture, (resolution, resolution), (0, 0, *picture.size))


def _pad(picture: Image.Image, resolution: int) -> Image.Image:
    """Pad the whole picture to a square with the mean colour of its edges."""
    scale = resolution / max(picture.size)
    width, height = (max(round(side * scale), 1) for side in picture.size)
    inner = _resized(picture, (width, height), (0, 0, *picture.size))
    padded = Image.new(picture.mode, (resolution, resolution), _edge_colour(picture))
    padded.paste(inner, ((resolution - width) // 2, (resolution - height) // 2))
    return padded


def _edge_colour(picture: Image.Image) -> tuple[int, ...]:
    pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)  # (H, W, C)
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(int(value) for value in edges.mean(axis=0).round())


def _resized(
    picture: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]
) -> Image.Image:
    """Resize the part in `box`, antialiased. Enlarging is bicubic, because Lanczos rings at hard edges."""
    enlarging = box[2] - box[0] < size[0]
    resample = Image.Resampling.BICUBIC if enlarging else Image.Resampling.LANCZOS
    return picture.resize(size, resample, box, reducing_gap=3.0)


_FITS: dict[Fit, Callable[[Image.Image, int], Image.Image]] = {
    "crop": _crop,
    "pad": _pad,
    "stretch": _stretch,
}
