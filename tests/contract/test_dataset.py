"""Which files of an archive are the user's, on both sides of the queue."""

import pytest

from contract.dataset import is_wanted


@pytest.mark.parametrize(
    "name", ["a.png", "./a.png", "../a.png", "/a.png", "b/../a.png", "b\\a.png", "a..png"]
)
def test_a_file_is_wanted_wherever_it_claims_to_lie(name: str) -> None:
    assert is_wanted(name)


@pytest.mark.parametrize(
    "name", ["", "b/", "./", ".", "b/..", ".a.png", "./.b/a.png", "__MACOSX/a.png", "..a"]
)
def test_directories_and_hidden_files_are_not(name: str) -> None:
    assert not is_wanted(name)


@pytest.mark.parametrize(("name", "wanted"), [("\0a.png", False), ("a\0.png", True), ("b/\0a.png", False)])
def test_a_name_ends_before_a_nul(name: str, wanted: bool) -> None:
    assert is_wanted(name) is wanted
