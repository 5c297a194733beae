"""Which names in an archive are a user's files, and what is told of those rejected, on both sides."""

import pytest

from contract.dataset import RejectedFile, is_wanted


@pytest.mark.parametrize(
    "name", ["a.png", "./a.png", "../a.png", "/a.png", "b/../a.png", "b\\a.png", "a..png"]
)
def test_file_is_wanted_whatever_its_directory(name: str) -> None:
    assert is_wanted(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "b/",
        "./",
        ".",
        "b/..",
        ".a.png",
        "./.b/a.png",
        "__MACOSX/a.png",
        "..a",
        "__MACOSX\\._a",
        "a\\.b\\c",
    ],
)
def test_directories_and_hidden_files_are_not_wanted(name: str) -> None:
    assert not is_wanted(name)


@pytest.mark.parametrize(("name", "wanted"), [("\0a.png", False), ("a\0.png", True), ("b/\0a.png", False)])
def test_name_ends_at_a_nul(name: str, wanted: bool) -> None:
    assert is_wanted(name) is wanted


def test_name_and_reason_of_a_rejected_file_keep_their_beginning_and_end() -> None:
    usual, endless = "a" * 200, "first/" + "a" * 60_000 + "/last.png"
    file = RejectedFile(name=endless, reason=endless)
    assert file.name == file.reason == "first/" + "a" * 93 + "…" + "a" * 91 + "/last.png"
    assert RejectedFile.model_validate_json(file.model_dump_json()) == file
    assert RejectedFile(name=usual, reason="It is damaged.").name == usual
