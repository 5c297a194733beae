"""Which names in an archive are a user's files, in the gateway and in the preparer."""

import pytest

from contract.dataset import is_wanted


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
