"""The Python client: upload datasets, train, fetch pictures."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Any, Self, SupportsFloat, SupportsIndex, TypeVar
from urllib.parse import urlencode

import httpx

from contract.dataset import MAX_NAME_CHARACTERS
from contract.formats import FORMS
from contract.workshop import SUFFIXES, ExportFormat
from dcgan.connection import Connection, path_to, read
from dcgan.errors import DcganError
from dcgan.events import EventFeed
from dcgan.files import opened, written
from dcgan.polling import polled
from dcgan.replies import Dataset, DryRun, Job, Model, PastMeaning, Reply

RETRY_PAUSES_SECONDS = (0.5, 2.0)
MADE_WITHIN_SECONDS = 180.0
FORM_OF_ENDING: Mapping[str, ExportFormat] = {f".{ending}": form for form, ending in SUFFIXES.items()}
MEDIA_TYPES: Mapping[object, str] = {name: form.media_type for name, form in FORMS.items()}

R = TypeVar("R", bound=Reply)


class Client:
    """A client of one service. Every method raises `DcganError` if the service refuses or is unreachable."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, timeout_seconds: float = 60) -> None:
        self._service = Connection(url, timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def upload_dataset(self, path: Path | str, name: str | None = None) -> Dataset:
        """Upload a zip of pictures. It is streamed, so it may be larger than memory.

        `name` defaults to that of the file, as far as a dataset can have it.

        Raises:
            DcganError: `file_changed` if it grows or shrinks meanwhile.
        """
        with opened(path) as (archive, size):
            response = self._service.send(
                "POST",
                "/datasets",
                params={"name": name or _default_name(Path(path))},
                content=archive,
                headers={"Content-Type": "application/zip", "Content-Length": str(size)},
            )
        return read(Dataset, response)

    def dataset(self, dataset_id: str) -> Dataset:
        """The dataset in its current state."""
        return self._service.get(Dataset, path_to("datasets", dataset_id))

    def datasets(self) -> Iterator[Dataset]:
        """All datasets, newest first."""
        return self._service.pages(Dataset, "/datasets")

    def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset that no live job uses."""
        self._service.delete(path_to("datasets", dataset_id))

    def wait_dataset(self, dataset_id: str, *, timeout_seconds: float = 3600) -> Dataset:
        """Wait until the dataset is ready to train on, through outages of up to a minute.

        Raises:
            DcganError: `dataset_failed` with the preparer's reason, or `timeout`.
        """
        dataset = _await(lambda: self.dataset(dataset_id), _is_prepared_or_not, timeout_seconds)
        if dataset.state == "ready":
            return dataset
        if _is_prepared_or_not(dataset):
            reason = dataset.error.detail if dataset.error else dataset.state
            raise DcganError("dataset_failed", f"Dataset {dataset_id} could not be prepared: {reason}")
        raise DcganError("timeout", f"Dataset {dataset_id} is still {dataset.state}. Is a preparer alive?")

    def create_job(self, /, *, idempotency_key: str | None = None, **request: Any) -> Job:
        """Create a training job: `create_job(dataset="ds_…")`. The fields are those of `POST /jobs`.

        Retried if the answer is lost. All attempts have the same idempotency key (a random one by default),
        so they create one job.
        """
        return self._make_job("/jobs", idempotency_key, request)

    def estimate(self, /, **request: Any) -> DryRun:
        """What `create_job` with the same fields would train, and what that would take.

        Nothing is queued. A trainer computes the estimate, in a few seconds.
        """
        response = self._service.send("POST", "/jobs", params={"dry_run": "true"}, json=request)
        return read(DryRun, response)

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Train a failed or cancelled job again from the start, as a new job."""
        return self._make_job(path_to("jobs", job_id, "retry"), idempotency_key, None)

    def job(self, job_id: str) -> Job:
        """The job in its current state."""
        return self._service.get(Job, path_to("jobs", job_id))

    def jobs(self, state: str | None = None) -> Iterator[Job]:
        """All jobs, newest first; with `state`, only those in that state."""
        return self._service.pages(Job, "/jobs", {"state": state} if state else None)

    def events(self, job_id: str, after: int = 0) -> EventFeed:
        """The job's events after the one with this id, past and future, until the job is final."""
        return EventFeed(self._service, job_id, after)

    def wait_job(self, job_id: str, *, timeout_seconds: float | None = None) -> Job:
        """Wait until the job has succeeded, failed or been cancelled, through outages of up to a minute.

        This includes waiting until somebody resumes or cancels a paused job: set a timeout if that may never
        happen.

        Raises:
            DcganError: `timeout`.
        """
        job = _await(lambda: self.job(job_id), lambda job: job.is_final, timeout_seconds)
        if job.is_final:
            return job
        raise DcganError(
            "timeout", f"Job {job_id} is still {job.state} after {timeout_seconds:g} s; it goes on."
        )

    def cancel(self, job_id: str) -> Job:
        """Cancel the job; its checkpoints are kept."""
        return self._control(job_id, "cancel")

    def pause(self, job_id: str) -> Job:
        """Save the job and free its worker."""
        return self._control(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """Queue a paused job again."""
        return self._control(job_id, "resume")

    def delete_job(self, job_id: str) -> None:
        """Delete a final job and everything it made, unless an alias points to it."""
        self._service.delete(path_to("jobs", job_id))

    def samples(self, seed: int, model: str | None = None, count: int = 1, **options: str | float) -> bytes:
        """The PNG of a seed, or the sheet of `count` seeds starting there. `model` defaults to `latest`.

        The options are the other parameters of `GET /samples`: `format="webp"`, `scale=4`, `truncation=0.7`,
        or `to=42` for `count` points on the path to another seed.
        """
        address = self.samples_url(seed, model, count, **options)
        return self._service.send("GET", address, media_type=_media_type(options)).content

    def samples_url(self, seed: int, model: str | None = None, count: int = 1, **options: str | float) -> str:
        """The URL of those samples; permanent if `model` is a digest."""
        named = {"model": model} if model else {}
        chosen: dict[str, str | float] = {"seed": seed, "count": count, **named, **options}
        query = urlencode(httpx.QueryParams(chosen).multi_items(), safe=":")
        return f"{self._service.url}/samples?{query}"

    def samples_of(
        self,
        *,
        seeds: Iterable[SupportsIndex] | None = None,
        latents: Iterable[Iterable[SupportsFloat]] | None = None,
        **options: str | float,
    ) -> bytes:
        """The samples of seeds in any order, or of your own latents, in one request. Both may be arrays.

        The options are the other fields of `POST /samples`: `model="job_…"`, `format="npz"`, `columns=8`.
        """
        body: dict[str, object] = {**options}
        if seeds is not None:
            body["seeds"] = [index(seed) for seed in seeds]
        if latents is not None:
            body["latents"] = [[float(number) for number in row] for row in latents]
        return self._service.send("POST", "/samples", json=body, media_type=_media_type(options)).content

    def models(self) -> Iterator[Model]:
        """The aliases and what they point to, then the imported generators."""
        return self._service.pages(Model, "/models")

    def model(self, reference: str) -> Model:
        """What an alias, a job or a digest points to now."""
        return self._service.get(Model, path_to("models", reference))

    def point_alias(
        self,
        alias: str,
        *,
        job: str | None = None,
        digest: str | None = None,
        follow: bool = False,
        if_match: str | None = None,
    ) -> Model:
        """Point an alias to a job's best checkpoint, as of now or (`follow`) always, or to a digest.

        Raises:
            DcganError: `precondition_failed` if the alias's ETag is not `if_match`.
        """
        given = {"job": job, "digest": digest, "follow": follow or None}
        target = {name: value for name, value in given.items() if value is not None}
        response = self._service.send(
            "PUT", path_to("models", alias), json=target, headers=_condition(if_match)
        )
        return read(Model, response)

    def roll_back_alias(self, alias: str, *, if_match: str | None = None) -> Model:
        """Point an alias back to what it pointed to before."""
        response = self._service.send(
            "POST", path_to("models", alias, "rollback"), headers=_condition(if_match)
        )
        return read(Model, response)

    def alias_history(self, alias: str) -> Iterator[PastMeaning]:
        """What an alias points to and pointed to, newest first."""
        return self._service.pages(PastMeaning, path_to("models", alias, "history"))

    def export_model(
        self,
        reference: str,
        path: Path | str,
        format: ExportFormat | None = None,  # noqa: A002 — as in `samples`
    ) -> None:
        """Write a generator to a file, atomically. A program takes some seconds.

        `format` defaults to the file's extension: `.onnx` or `.pt2` for a program, otherwise safetensors.
        """
        target = Path(path)
        exported = self._service.stream(
            path_to("models", reference, "export"),
            params={"format": format or FORM_OF_ENDING.get(target.suffix.lower(), "safetensors")},
            timeout=MADE_WITHIN_SECONDS,
            media_type="application/octet-stream",
        )
        with written(target) as file, exported as response:
            for chunk in response.iter_bytes():
                file.write(chunk)

    def import_model(self, path: Path | str) -> Model:
        """Import a checkpoint that an instance of the service has exported.

        Raises:
            DcganError: `file_changed` if the file grows or shrinks meanwhile.
        """
        with opened(path) as (file, size):
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            response = self._service.send(
                "POST", "/models", content=file, headers=headers, timeout_seconds=MADE_WITHIN_SECONDS
            )
        return read(Model, response)

    def delete_model(self, reference: str) -> None:
        """Delete an alias, or an imported generator by its digest."""
        self._service.delete(path_to("models", reference))

    def _make_job(self, path: str, idempotency_key: str | None, request: object) -> Job:
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        pauses_seconds = iter(RETRY_PAUSES_SECONDS)
        while True:
            try:
                return read(Job, self._service.send("POST", path, json=request, headers=headers))
            except DcganError as error:
                pause_seconds = next(pauses_seconds, None)
                if pause_seconds is None or not _may_have_passed(error):
                    raise
                time.sleep(pause_seconds)

    def _control(self, job_id: str, action: str) -> Job:
        return read(Job, self._service.send("POST", path_to("jobs", job_id, action)))


def _await(look: Callable[[], R], is_over: Callable[[R], bool], timeout_seconds: float | None) -> R:
    """Poll until it is over or the timeout, and return the last result."""
    for seen in polled(look, timeout_seconds):
        if is_over(seen):
            break
    return seen


def _is_prepared_or_not(dataset: Dataset) -> bool:
    return dataset.state in {"ready", "failed", "cancelled"}


def _default_name(path: Path) -> str:
    """The file's name, without what is not UTF-8 in it, and no longer than the service accepts."""
    return path.stem.encode(errors="surrogateescape").decode(errors="replace")[:MAX_NAME_CHARACTERS]


def _media_type(options: Mapping[str, object]) -> str | None:
    """The expected media type of samples with these options; None if only the service knows it."""
    return MEDIA_TYPES.get(options.get("format", "png"))


def _condition(if_match: str | None) -> dict[str, str]:
    return {"If-Match": if_match} if if_match else {}


def _may_have_passed(error: DcganError) -> bool:
    """Whether the request may have been carried out, or may be soon: not if the connection failed."""
    if error.code == "unreachable":
        return not isinstance(error.__cause__, httpx.ConnectError)
    return error.code in {"store_unavailable", "volume_failing"}
