"""The main use case, end to end: upload real pictures, train a generator, sample PNGs by seed."""

import io
import json
import zipfile
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.training import MAX_SEED
from tests.system.stack import Stack, until


def pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)))


def sample(stack: Stack, **parameters: str | float) -> bytes:
    response = stack.http.get("/samples", params=parameters)
    assert response.status_code == 200, response.text
    return response.content


def posted(stack: Stack, job: str, **body: Any) -> bytes:
    response = stack.http.post("/samples", json={"model": job, **body})
    assert response.status_code == 200, response.text
    return response.content


@pytest.fixture(scope="module")
def job(stack: Stack) -> str:
    job_id = stack.train(name="tiny", checkpoint_every_images=320, preview_every_images=320)
    stack.await_state(job_id, "succeeded")
    return job_id


def test_finished_job_reports_progress_losses_and_checkpoints(stack: Stack, job: str) -> None:
    told = stack.job(job)
    assert told["progress"]["images_seen"] == told["progress"]["total"] == 640
    assert set(told["progress"]["losses"]) == {"discriminator", "generator"}
    assert [checkpoint["images_seen"] for checkpoint in told["checkpoints"]] == [640, 320]
    assert told["error"] is None


def test_log_shows_the_course_of_a_job_and_loaded_generators(stack: Stack, job: str) -> None:
    sample(stack, model=job, seed=0)
    digest = stack.job(job)["checkpoint"]["digest"]
    course = (f"{job}: claimed, attempt 1", f"{job}: succeeded", f"loaded generator {digest[:19]}")
    until(lambda: all(said in stack.log() for said in course), f"{course} in the log")


def test_each_tile_of_a_sheet_is_the_single_image(stack: Stack, job: str) -> None:
    sheet = pixels(sample(stack, model=job, seed=3, count=6))  # 3 columns, 2 rows
    for number in range(6):
        row, column = divmod(number, 3)
        tile = sheet[row * 32 : (row + 1) * 32, column * 32 : (column + 1) * 32]
        assert np.array_equal(tile, pixels(sample(stack, model=job, seed=3 + number)))


def test_different_seeds_are_different_images(stack: Stack, job: str) -> None:
    assert sample(stack, model=job, seed=0) != sample(stack, model=job, seed=1)


def test_last_seed_is_served(stack: Stack, job: str) -> None:
    assert pixels(sample(stack, model=job, seed=MAX_SEED)).shape == (32, 32)


def test_alias_job_and_digest_name_the_same_bytes(stack: Stack, job: str) -> None:
    digest = stack.job(job)["checkpoint"]["digest"]
    stack.http.put("/models/tiny", json={"job": job}).raise_for_status()
    assert sample(stack, model=job, seed=7) == sample(stack, model=digest, seed=7)
    assert sample(stack, model="tiny", seed=7) == sample(stack, model=digest, seed=7)


def test_unchanged_sample_is_answered_without_a_body(stack: Stack, job: str) -> None:
    first = stack.http.get("/samples", params={"model": job, "seed": 7})
    again = stack.http.get(
        "/samples", params={"model": job, "seed": 7}, headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_every_format_shows_the_same_samples(stack: Stack, job: str) -> None:
    seeds = [9, 3, 7]
    alone = [sample(stack, model=job, seed=seed) for seed in seeds]
    with zipfile.ZipFile(io.BytesIO(posted(stack, job, seeds=seeds, format="zip"))) as archive:
        assert [archive.read(name) for name in archive.namelist()] == alone
    with np.load(io.BytesIO(posted(stack, job, seeds=seeds, format="npz"))) as arrays:
        tiles = arrays["pixels"][..., 0]
        rounded = np.clip(np.rint((arrays["numbers"] + np.float32(1)) * np.float32(127.5)), 0, 255)
        assert np.array_equal(arrays["pixels"], rounded)
    assert np.array_equal(tiles, [pixels(png) for png in alone])
    sheet = np.concatenate(tiles)
    for chosen in ("png", "webp"):
        picture = Image.open(io.BytesIO(posted(stack, job, seeds=seeds, format=chosen, columns=1)))
        assert np.array_equal(np.asarray(picture.convert("L")), sheet)


def test_latents_of_a_seed_give_its_picture(stack: Stack, job: str) -> None:
    """The latents are computed from their specification in docs/api.md, without our code."""
    raw = np.random.Philox(key=7).random_raw(stack.job(job)["spec"]["architecture"]["latent_size"])
    for truncation in (1, 0.5):
        uniform = 0.5 + (((raw >> np.uint64(12)) + 0.5) * 2.0**-52 - 0.5) * truncation
        latent = [float(np.float32(NormalDist().inv_cdf(share))) for share in uniform]
        drawn = sample(stack, model=job, seed=7, truncation=truncation)
        assert np.array_equal(pixels(posted(stack, job, latents=[latent])), pixels(drawn))


def test_png_info_tells_how_to_request_the_same_png(stack: Stack, job: str) -> None:
    for png in (sample(stack, model=job, seed=7, scale=2), posted(stack, job, seeds=[9, 3], padding=1)):
        told = stack.http.post("/png-info", content=png, headers={"Content-Type": "image/png"}).json()
        assert told["is_known"]
        again = stack.http.get(told["url"]) if told["url"] else stack.http.post("/samples", json=told["body"])
        assert again.content == png


def test_png_carries_its_recipe(stack: Stack, job: str) -> None:
    digest = stack.job(job)["checkpoint"]["digest"]
    picture = Image.open(io.BytesIO(sample(stack, model=job, seed=7)))
    assert picture.info["dcgan:digest"] == digest
    assert picture.info["dcgan:seed"] == "7"
    assert stack.http.get(picture.info["dcgan:url"]).content == sample(stack, model=job, seed=7)


def test_previews_show_the_seeds_that_samples_show(stack: Stack, job: str) -> None:
    listed = stack.get(f"/jobs/{job}/previews")
    entries = listed["items"] if isinstance(listed, dict) else listed
    assert sorted(entry["images_seen"] for entry in entries) == [320, 640]
    preview = stack.http.get(f"/jobs/{job}/previews/640.png")
    shown = pixels(preview.content).astype(int)
    assert np.abs(shown - pixels(sample(stack, model=job, seed=0, count=64))).max() <= 1  # not bucketed


def test_events_cover_the_whole_job_without_a_gap(stack: Stack, job: str) -> None:
    response = stack.http.get(f"/jobs/{job}/events", headers={"Accept": "application/json"})
    events = response.json()["events"]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    states = [event["data"]["state"] for event in events if event["type"] == "state"]
    assert states == ["queued", "running", "succeeded"]
    assert {"checkpoint", "preview"} <= {event["type"] for event in events}


def test_event_stream_ends_with_the_terminal_state(stack: Stack, job: str) -> None:
    with stack.http.stream("GET", f"/jobs/{job}/events", headers={"Accept": "text/event-stream"}) as stream:
        lines = [line for line in stream.iter_lines() if line.startswith("data:")]
    assert json.loads(lines[-1][5:])["state"] == "succeeded"


def test_latest_is_the_newest_finished_job(stack: Stack, job: str) -> None:
    newer = stack.train(seed=1)
    stack.await_state(newer, "succeeded")
    assert sample(stack, seed=7) == sample(stack, model=newer, seed=7)
    assert sample(stack, seed=7) != sample(stack, model=job, seed=7)
