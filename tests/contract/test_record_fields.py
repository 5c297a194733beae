"""The fields of a record's hash are those of `Record`, and those that the head of the script names."""

import re
from collections.abc import Iterator

from contract.job import Record
from contract.script import script

OF_THE_SCRIPT = {
    "buried_token",
    "idempotency_key",
    "reports",
    "telling_since_ms",
    "unconfirmed",
    "uses",
}
"""Fields that no process reads."""


def test_script_reads_and_writes_fields_of_the_record_and_those_that_only_it_uses() -> None:
    assert set(_fields(script())) - set(Record.model_fields) == OF_THE_SCRIPT


def test_head_of_the_script_names_the_fields_that_only_it_uses() -> None:
    head = script().partition("\n\n")[0]
    assert {field for field in OF_THE_SCRIPT if re.search(rf"\b{field}, [a-z]", head)} == OF_THE_SCRIPT


def _fields(lua: str) -> Iterator[str]:
    """The literal fields in calls of `read(id, field)` and `write(id, field, value, …)`."""
    for call in re.finditer(r"\b(?:read|write)\(", lua):
        for argument in _arguments(lua[call.end() :])[1::2]:
            if literal := re.fullmatch(r"'(\w+)'", argument):
                yield literal[1]


def _arguments(text: str) -> list[str]:
    """The arguments of a call, from its opening bracket on."""
    arguments, depth = [""], 0
    for character in text:
        depth += (character in "({") - (character in ")}")
        if depth < 0:
            break
        if character == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += character
    return [argument.strip() for argument in arguments]
