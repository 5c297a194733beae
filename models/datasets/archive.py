"""Prepare an uploaded archive: read every file once, accept usable pictures, give a reason for each other."""

import contextlib
import hashlib
import lzma
import statistics
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from contract.dataset import Manifest, RejectedFile, is_wanted
from contract.durable import (
    Insist,
    Read,
    RequireRoom,
    as_json,
    at_once,
    once,
    remove_durably,
    replace_durably,
)
from contract.errors import ErrorCode, ServiceError
from contract.pictures import HEAD_BYTES, READABLE
from contract.training import JobRequest, resolve
from contract.volume import Volume, entries
from models.datasets.arrays import CHUNK, array
from models.datasets.decoding import DECODERS, PixelLimit
from models.datasets.pictures import (
    UnusablePictureError,
    is_grey,
    looks_like_picture,
    require_faithful,
)
from models.datasets.source import Source
from models.datasets.split import held_out_images
from models.datasets.unpacking import MAX_FILE_BYTES, unpacked

Report = Callable[[int, int], None]
"""Receives the amount done and the total. Called often enough to serve as a sign of life."""

MAX_NAME_CHARACTERS = 1_024
LISTED_REJECTIONS = 1_000

NOT_A_ZIP = (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError)
"""What zipfile raises at what is no archive."""


def prepare(
    archive: Path,
    dataset_id: str,
    volume: Volume,
    report: Report,
    insist: Insist = once,
    read: Read = at_once,
) -> Manifest:
    """Make a dataset from a zip of pictures: its default array first, then the manifest that makes it ready.

    Raises:
        ServiceError: `not_a_zip`, or `no_images` when it contains no usable picture.
        UnreadableError: the volume does not give the archive back.
        OSError: it accepts no array or manifest.
    """
    with contextlib.closing(Source(archive, read)) as source:
        survey = _survey(source, lambda done, total: report(done, 2 * total))
    manifest = _manifest(dataset_id, survey)
    path, content = volume.manifest(dataset_id), as_json(manifest.model_dump(mode="json"))
    is_known = _is_known(path, content, read)
    insist(
        lambda _: _discard_unfinished(volume, dataset_id, is_known=is_known), volume.dataset(dataset_id), 0
    )
    offset, files = survey.files, len(manifest.files)
    _derive_default_array(
        volume, manifest, lambda done, _: report(offset + done, offset + files), insist, read
    )

    def write(require_room: RequireRoom) -> None:
        require_room()
        replace_durably(path, content)

    insist(write, path, len(content))
    return manifest


@dataclass(frozen=True)
class _Picture:
    """What remains of a usable picture after its pixels are freed."""

    name: str
    sha256: str
    width: int
    height: int
    grey: bool


@dataclass
class _Survey:
    """The findings about the files of an archive."""

    files: int
    pictures: list[_Picture] = field(default_factory=list)
    rejected: list[RejectedFile] = field(default_factory=list)
    duplicates: int = 0


def _survey(source: Source, report: Report) -> _Survey:
    """Look at every file, in order of name. Files that do not claim to be pictures are skipped silently."""
    limit = PixelLimit()
    with _opened(source) as opened, ThreadPoolExecutor(DECODERS) as pool:
        entries = sorted(_entries(opened), key=lambda entry: entry.filename)
        survey, known = _Survey(len(entries)), set[str]()
        for start in range(0, len(entries), CHUNK):
            chunk = entries[start : start + CHUNK]
            findings = pool.map(lambda entry: _look_at(opened, entry, limit), chunk)
            for count, finding in enumerate(findings, start + 1):
                _file(finding, survey, known)
                report(count, len(entries))
    return survey


def _file(finding: _Picture | RejectedFile | None, survey: _Survey, known: set[str]) -> None:
    if isinstance(finding, RejectedFile):
        survey.rejected.append(finding)
    elif finding is not None and finding.sha256 in known:
        survey.duplicates += 1
    elif finding is not None:
        known.add(finding.sha256)
        survey.pictures.append(finding)


def _look_at(
    opened: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: PixelLimit
) -> _Picture | RejectedFile | None:
    try:
        content = _read(opened, entry)
        if content is None:
            return None
        require_faithful(content)
        width, height, grey = limit.decoded(content, lambda picture: (*picture.size, is_grey(picture)))
    except UnusablePictureError as error:
        return RejectedFile(name=entry.filename, reason=str(error))
    return _Picture(entry.filename, hashlib.sha256(content).hexdigest(), width, height, grey)


def _opened(source: Source) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except NOT_A_ZIP as error:
        detail = f"The upload is not a zip archive ({error}). Send a .zip of picture files."
        raise ServiceError(ErrorCode.NOT_A_ZIP, detail) from error


def _entries(opened: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The user's entries, one per name: the last one wins, as it does when unzipping."""
    wanted = (entry for entry in opened.infolist() if is_wanted(entry.filename))
    return list({entry.filename: entry for entry in wanted}.values())


def _read(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | None:
    """The content of a picture file, or None. Never reads much beyond the limit, whatever an entry claims."""
    try:
        with unpacked(opened, entry) as file:
            beginning = file.read(HEAD_BYTES)
            if not looks_like_picture(entry.filename, beginning):
                return None
            _require_short_name(entry)
            content = beginning + file.read(MAX_FILE_BYTES)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, EOFError, OSError) as error:
        raise UnusablePictureError(f"The archive is damaged here ({error}).") from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed by an unknown method
        raise UnusablePictureError(f"It cannot be extracted ({error}).") from error
    if len(content) > MAX_FILE_BYTES:
        raise UnusablePictureError(f"It is larger than {MAX_FILE_BYTES // 2**20} MiB.")
    return content


def _require_short_name(entry: zipfile.ZipInfo) -> None:
    """The manifest has the name of every picture."""
    if len(entry.filename) > MAX_NAME_CHARACTERS:
        raise UnusablePictureError(f"Its name has more than {MAX_NAME_CHARACTERS:,} characters.")


def _manifest(dataset_id: str, survey: _Survey) -> Manifest:
    pictures = survey.pictures
    if not pictures:
        raise ServiceError(ErrorCode.NO_IMAGES, _no_images(survey))
    hashes = tuple(picture.sha256 for picture in pictures)
    return Manifest(
        id=dataset_id,
        images=len(pictures),
        held_out_images=held_out_images(hashes),
        rejected=tuple(survey.rejected[:LISTED_REJECTIONS]),
        rejected_images=len(survey.rejected),
        duplicate_images=survey.duplicates,
        channels=1 if all(picture.grey for picture in pictures) else 3,
        median_width=statistics.median_low(picture.width for picture in pictures),
        median_height=statistics.median_low(picture.height for picture in pictures),
        content_hash=hashlib.sha256("".join(hashes).encode()).hexdigest(),
        files=tuple(picture.name for picture in pictures),
        hashes=hashes,
    )


def _no_images(survey: _Survey) -> str:
    found = f"None of the {survey.files} files in the archive is a usable picture"
    why = f"; {survey.rejected[0].name}: {survey.rejected[0].reason}" if survey.rejected else "."
    return f"{found}{why} Send a .zip of {READABLE} files."


def _is_known(manifest: Path, content: bytes, read: Read) -> bool:
    """Whether an earlier preparation came to this manifest. One that cannot be read is not known."""
    try:
        return read(manifest.read_bytes, manifest) == content
    except OSError:
        return False


def _discard_unfinished(volume: Volume, dataset_id: str, *, is_known: bool) -> None:
    """Remove what earlier preparations left, unless one came to this manifest: then the arrays are its own.

    Others may be of other pictures, if another version of the program derived them.
    """
    path = volume.manifest(dataset_id)
    for torn in entries(path.parent, f".{path.name}.*.tmp"):
        torn.unlink(missing_ok=True)
    if is_known:
        return
    remove_durably(path)  # before its arrays, so that it is never there with those of another
    with contextlib.suppress(FileNotFoundError):
        for derived in entries(volume.arrays(dataset_id), "*.npy"):
            derived.unlink(missing_ok=True)


def _derive_default_array(
    volume: Volume, manifest: Manifest, report: Report, insist: Insist, read: Read
) -> None:
    """Derive the array for a job with default settings, so that no trainer has to wait for it."""
    spec = resolve(JobRequest(dataset=manifest.id), manifest)
    array(volume, manifest, spec.form, report, insist, read)
