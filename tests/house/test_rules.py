"""House rules on what must not be where (docs/architecture.md): one small test per rule, on syntax trees."""

import ast
import re
from collections.abc import Callable

import pytest

from contract import keys
from contract.script import PARTS
from tests.house.conftest import Source

MOST_LINES = 350

SHELLS = {
    "contract/volume_watch.py": "a look that fails by our mistake is logged; the next one tries again",
    "models/datasets/pictures.py": "a file on which Pillow fails in any way is rejected; the others go on",
    "service/daemon_threads.py": "what fails in a thread is raised in whoever waits for it",
    "service/gateway.py": "a reader that breaks is logged and begins anew; requests go on being answered",
    "service/mailbox.py": "asks or answers that fail by our mistake are logged; the others go on",
    "service/shortcut.py": "stands before the middleware that answers for what is raised, and does so itself",
    "service/webhooks.py": "a delivery that fails by our mistake is logged and tried again; the others go on",
    "worker/aside.py": "what fails in its thread is raised in the one that waits for it",
    "worker/child.py": "the child tells its supervisor what killed it before it exits",
    "worker/request_server.py": "an ask that fails is logged; the next one is taken",
    "worker/reconciler.py": "a round that fails is logged; the next one tries again",
    "worker/replies.py": "a portion that cannot be encoded or sent is logged; the others go on",
    "worker/sampling.py": "a batch that fails is logged and answered; the other batches go on",
    "worker/supervisor.py": "a record that cannot be read is blamed, one without an order is handed back",
}
"""Modules that may catch everything, and why: the outermost shells, which record what they catch."""

READ_THE_ENVIRONMENT = {
    "service/settings.py": "settings of the gateway",
    "worker/settings.py": "settings of the workers",
}


def found(sources: list[Source], wanted: Callable[[ast.AST], bool]) -> list[str]:
    """The locations of the nodes that a rule forbids."""
    return [source.at(node) for source in sources for node in source.nodes() if wanted(node)]


def named(node: ast.AST) -> str:
    """The dotted name of a chain of attributes, as `a.b.c`, or an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{named(node.value)}.{node.attr}"
    return ""


def test_only_settings_read_the_environment(sources: list[Source]) -> None:
    others = [source for source in sources if source.path not in READ_THE_ENVIRONMENT]
    assert not found(others, lambda node: named(node) in {"os.environ", "os.getenv", "os.environb"})


def test_only_contract_keys_spells_out_redis_keys_and_task_names(sources: list[Source]) -> None:
    ours = [value for value in vars(keys).values() if isinstance(value, str) and value.startswith("dcgan:")]
    ours += [key for kind in keys.KEYS.values() for key in vars(kind).values()] + [
        *keys.TASK_OF_ROLE.values()
    ]
    others = [source for source in sources if source.path != "contract/keys.py"]
    assert not [
        source.at(node)
        for source in others
        for node in source.nodes()
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value.startswith(tuple(ours)) and id(node) not in source.docstrings
    ]


LOAD_TENSORS = {"models/features/inception.py": "Inception's weights come as torch wrote them; tensors only"}
"""Modules that may call torch.load, and why; always with weights_only=True."""


def test_nothing_is_pickled(sources: list[Source]) -> None:
    picklers = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

    def pickles(node: ast.AST) -> bool:
        if isinstance(node, ast.Import):
            return any(alias.name.partition(".")[0] in picklers for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            return (node.module or "").partition(".")[0] in picklers
        if isinstance(node, ast.keyword):
            return node.arg == "allow_pickle" and not _is_false(node.value)
        return named(node) in {"torch.load", "torch.save"}

    assert not found([source for source in sources if source.path not in LOAD_TENSORS], pickles)


def test_foreign_weights_are_loaded_as_tensors_only(sources: list[Source]) -> None:
    def loads_anything(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call) or named(node.func) != "torch.load":
            return False
        return not any(
            keyword.arg == "weights_only"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is True
            for keyword in node.keywords
        )

    assert not found(sources, loads_anything)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize(
    ("package", "choice"), [("models", "kind"), ("models", "features"), ("worker", "features")]
)
def test_no_code_branches_on_what_a_job_has_chosen(sources: list[Source], package: str, choice: str) -> None:
    def branches(node: ast.AST) -> bool:
        if isinstance(node, ast.Compare):
            return any(named(side).split(".")[-1] == choice for side in (node.left, *node.comparators))
        return isinstance(node, ast.Match) and named(node.subject).split(".")[-1] == choice

    assert not found([source for source in sources if source.package == package], branches)


def test_only_the_outermost_shells_catch_everything(sources: list[Source]) -> None:
    def catches_everything(node: ast.AST) -> bool:
        if not isinstance(node, ast.ExceptHandler):
            return False
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        return any(kind is None or named(kind) in {"Exception", "BaseException"} for kind in caught)

    shells = {source.path for source in sources if any(map(catches_everything, source.nodes()))}
    assert shells == SHELLS.keys()


def test_only_worker_tasks_uses_celery_decorators(sources: list[Source]) -> None:
    def wears_one(node: ast.AST) -> bool:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return False
        worn = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
        return any(named(item).split(".")[-1] in {"task", "shared_task"} for item in worn)

    assert not found([source for source in sources if source.path != "worker/tasks.py"], wears_one)


def test_http_stays_in_the_gateway(sources: list[Source]) -> None:
    outside = [source for source in sources if source.package in {"contract", "models", "worker"}]
    words = {"HTTPException", "status_code", "StreamingResponse", "JSONResponse"}
    assert not found(outside, lambda node: named(node).split(".")[-1] in words)


def test_training_steps_never_wait_for_the_device(sources: list[Source]) -> None:
    places = (
        "models/objectives/",
        "models/networks/",
        "models/priors/",
        "models/terms/",
        "models/augment.py",
        "models/ema.py",
        "models/game.py",
        "models/penalties.py",
        "models/step.py",
    )
    steps = [source for source in sources if source.path.startswith(places)]
    assert not {place for place in places if not any(step.path.startswith(place) for step in steps)}
    waits = {"item", "cpu", "tolist", "numpy", "synchronize"}
    assert not found(
        steps,
        lambda node: (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in waits
        ),
    )


def test_only_models_pixels_converts_between_pixels_and_numbers(sources: list[Source]) -> None:
    def scales_pixels(node: ast.AST) -> bool:
        return isinstance(node, ast.Constant) and node.value in (127.5, 255.0) and type(node.value) is float

    files = {source.path for source in sources if any(scales_pixels(node) for node in source.nodes())}
    assert files == {"models/pixels.py"}


def test_no_file_is_longer_than_the_limit(everything: list[Source], script_parts: list[Source]) -> None:
    long = {source.path: len(source.text.splitlines()) for source in [*everything, *script_parts]}
    assert not {path: lines for path, lines in long.items() if lines > MOST_LINES}


def test_every_part_of_the_script_is_joined(script_parts: list[Source]) -> None:
    assert {source.path for source in script_parts} == {f"contract/lua/{part}.lua" for part in PARTS}


def test_every_module_has_a_docstring(sources: list[Source]) -> None:
    silent = [source.path for source in sources if source.text.strip() and not ast.get_docstring(source.tree)]
    assert not silent


def test_tests_are_not_packages(everything: list[Source]) -> None:
    assert not [source.path for source in everything if re.match(r"tests/.*__init__\.py$", source.path)]
