"""A name tells what it is the name of: what a rebuild left out is one set, of all kinds."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.identifiers import (
    ALIAS_PATTERN,
    DATASET_PATTERN,
    DIGEST_PATTERN,
    JOB_PATTERN,
    is_alias,
    is_record_id,
)

PATTERNS = (JOB_PATTERN, DATASET_PATTERN, ALIAS_PATTERN, DIGEST_PATTERN)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(data=st.data())
def test_name_of_one_kind_is_of_no_other(pattern: str, data: st.DataObject) -> None:
    name = data.draw(st.from_regex(pattern, fullmatch=True))
    assert [other for other in PATTERNS if re.fullmatch(other, name)] == [pattern]
    assert is_record_id(name) == (pattern in (JOB_PATTERN, DATASET_PATTERN))
    assert is_alias(name) == (pattern == ALIAS_PATTERN)
