"""A real gateway behind a real socket, with a real Redis; the tests play the workers."""

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from contract.command import Command
from contract.job import CheckpointFact, State
from contract.keys import EPOCH, RENDERER, Role
from contract.owning import Lease, leave
from contract.volume import Volume
from service.embedded_redis import RedisServer
from service.settings import Settings
from service.store import Store
from tests.service.answering import App, Hasty
from tests.service.deployment import Deployment
from tests.service.playing import Sampler, Trainer, Worker
from tests.service.receiver import Receiver, receiving
from tests.service.serving import Server, serve, serving
from tests.service.waiting import until

T = TypeVar("T")
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


@contextmanager
def patient_with_redis() -> Iterator[None]:
    """Gateways made in this block wait for a Redis that is only slow, as on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.redis_client._PATIENCE_SECONDS", 30.0)
        patch.setattr("service.bell._PATIENCE_SECONDS", 30.0)
        yield


@pytest.fixture(autouse=True)
def _waits() -> Iterator[None]:
    """Shorten what a gateway's readers block for: between two, they notice that it stops.

    And what it waits for samplers that have said hello, but are played by nobody.
    """
    with pytest.MonkeyPatch.context() as patch, patient_with_redis():
        patch.setattr("service.hub._POLL_SECONDS", 0.05)
        patch.setattr("service.mailbox._BLOCK_SECONDS", 0.05)
        patch.setattr("service.warming.PATIENCE_SECONDS", 0.05)
        yield


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    Volume(root).lay_out()
    return root


@pytest.fixture(scope="session")
def gateway_url(redis_server: RedisServer, data_root: Path) -> Iterator[str]:
    """One gateway for the whole session, with small limits."""
    settings = Settings(
        data_root=data_root,
        redis_url=redis_server.url,
        max_upload_bytes=100_000,
        sample_timeout_seconds=20,
        sample_queue_limit=4,
        estimate_timeout_seconds=20,
        estimate_limit=2,
        heartbeat_seconds=0.1,
        webhook_allow_private=True,
    )
    with pytest.MonkeyPatch.context() as patch, patient_with_redis(), serve(settings) as url:
        patch.setattr("contract.volume_watch.LOOK_SECONDS", 0.05)
        patch.setattr("contract.volume_watch.WRITE_SECONDS", 0.05)
        patch.setattr("service.webhooks._POLL_SECONDS", 0.05)
        patch.setattr("service.roster._ROLES_SECONDS", 0.1)
        yield url


@pytest.fixture(scope="module")
def app() -> App:
    """Answers each path in its own way."""
    return App()


@pytest.fixture(scope="module")
def hasty(app: App) -> Iterator[Server]:
    """A server of the app that is soon impatient."""
    with serving(app, Hasty) as server:
        yield server


@pytest.fixture(scope="module")
def server(app: App) -> Iterator[Server]:
    """A server of the app with the limits of the product."""
    with serving(app) as server:
        yield server


@pytest.fixture
def volume(data_root: Path) -> Volume:
    """The gateway's volume, without aliases, imports and an epoch. The rest stays: ids are never reused."""
    volume = Volume(data_root)
    for path in (*volume.aliases.glob("*.json"), *volume.imports.rglob("[!.]*.*")):
        path.unlink()
    volume.epoch.unlink(missing_ok=True)
    return volume


@pytest.fixture
def worker(redis_url: str, volume: Volume) -> Worker:
    """Plays the workers on an empty, rebuilt Redis, in which one worker of each role is alive."""
    worker = Worker(redis_url, volume)
    worker.redis.set(EPOCH, "1")
    worker.hello(*Role)
    return worker


@pytest.fixture
def trainer(worker: Worker, volume: Volume) -> Iterator[Trainer]:
    trainer = Trainer(worker.url, volume)
    trainer.start()
    yield trainer
    trainer.stop()


@pytest.fixture
def sampler(redis_url: str, worker: Worker) -> Iterator[Sampler]:
    sampler = Sampler(redis_url)
    sampler.start()
    assert worker.redis.get(RENDERER) == "r1"
    yield sampler
    sampler.stop()


@pytest.fixture
def client(gateway_url: str, worker: Worker) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway_url, verify=False, timeout=60) as client:  # no TLS; saves 30 ms
        until(lambda: client.get("/readyz").status_code == 200)  # the roster is cached for 0.1 s
        yield client


@pytest.fixture(scope="session")
def pictures() -> bytes:
    """A small archive with one picture, of which only the magic bytes are valid."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/one.png", PNG)
    return buffer.getvalue()


@pytest.fixture
def dataset(client: httpx.Client, worker: Worker, pictures: bytes) -> str:
    """The id of a ready dataset."""
    assert client.post("/datasets", content=pictures).status_code == 202
    return worker.prepare()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A webhook receiver on loopback, for whose answers gateways wait for as long as a test lasts."""
    monkeypatch.setattr("service.receivers.ATTEMPT_SECONDS", 600.0)
    with receiving() as one:
        yield one


@pytest.fixture
def new_job(client: httpx.Client, dataset: str) -> Callable[[], str]:
    """Queues another job on that dataset, and returns its id."""

    def post() -> str:
        answer = client.post("/jobs", json={"dataset": dataset, "images": 1000})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    return post


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Webhook deliveries are attempted every 0.2 s, for as long as a test lasts."""
    monkeypatch.setattr("service.webhooks.SCHEDULE_SECONDS", (*(0.2 * n for n in range(1, 500)), 86_400))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook delivery that failed is attempted again only once a test makes it due."""
    monkeypatch.setattr("service.webhooks.SCHEDULE_SECONDS", (3_600, 86_400))


@pytest.fixture
def said_twice(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sends the next command of this name twice, as redis-py does if the reply times out."""
    run, names = Store.run, set[str]()

    async def run_twice(store: Store, command: Command[T]) -> T:
        if command.arguments[1] in names:
            names.remove(command.arguments[1])
            await run(store, command)
        return await run(store, command)

    monkeypatch.setattr(Store, "run", run_twice)
    return names.add


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], None]:
    """Breaks the connection at the next command of this name: before Redis gets it, or before it replies."""
    monkeypatch.setattr("service.settling.ROUND_SECONDS", 0.05)
    run = Store.run
    cuts: dict[str, bool] = {}

    async def cut_run(store: Store, command: Command[Any]) -> Any:
        is_heard = cuts.pop(command.arguments[1], None)
        if is_heard is None:
            return await run(store, command)
        if is_heard:
            await run(store, command)
        raise RedisConnectionError("cut")

    monkeypatch.setattr(Store, "run", cut_run)
    return cuts.__setitem__


@pytest.fixture
def here(client: httpx.Client, worker: Worker, dataset: str) -> Deployment:
    """The session's gateway."""
    return Deployment(client, worker, dataset)


@pytest.fixture
def elsewhere(
    worker: Worker, redis_url: str, tmp_path: Path, pictures: bytes
) -> Iterator[Callable[..., Deployment]]:
    """Starts a gateway with its own settings, volume and records."""
    url = redis_url.removesuffix("/0") + "/1"
    there = Worker(url, Volume(tmp_path / "data"))
    there.redis.set(EPOCH, "1")
    there.hello(*Role)
    with ExitStack() as stack:

        def start(**settings: Any) -> Deployment:
            base = {"data_root": there.volume.root, "redis_url": url, "webhook_allow_private": True}
            running = stack.enter_context(ExitStack())
            address = running.enter_context(serve(Settings(**{**base, **settings})))
            client = running.enter_context(httpx.Client(base_url=address, timeout=60))
            assert client.post("/datasets", content=pictures).status_code == 202
            return Deployment(client, there, there.prepare(), running.close)

        yield start


@pytest.fixture
def finished(new_job: Callable[[], str], worker: Worker) -> CheckpointFact:
    """The checkpoint of a job that succeeded."""
    new_job()
    lease = worker.claim()
    fact = worker.checkpoint(lease)
    assert worker.run(leave(lease, State.SUCCEEDED))
    return fact


@pytest.fixture
def generators(worker: Worker, new_job: Callable[[], str]) -> list[CheckpointFact]:
    """Three checkpoints of one finished job."""
    new_job()
    lease = worker.claim()
    made = [worker.checkpoint(lease, images) for images in (100, 200, 300)]
    assert worker.run(leave(lease, State.SUCCEEDED))
    return made


@pytest.fixture
def job_id(client: httpx.Client, finished: CheckpointFact) -> str:
    """The id of the finished job."""
    return str(client.get("/jobs").json()["items"][0]["id"])


@pytest.fixture
def running(new_job: Callable[[], str], worker: Worker) -> Lease:
    """The lease of a running job, whose record is at revision 2."""
    new_job()
    return worker.claim()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways look at their volumes often, and soon repeat what failed."""
    monkeypatch.setattr("contract.volume_watch.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("contract.volume_watch.WRITE_SECONDS", 0.05)
    monkeypatch.setattr("service.settling.ROUND_SECONDS", 0.05)
    monkeypatch.setattr("service.warming.PATIENCE_SECONDS", 0.05)
