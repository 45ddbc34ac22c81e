"""The whole product of states and actions of an offering."""

import itertools

import pytest

from bursar.catalogue.lifecycle import OfferingAction as A
from bursar.catalogue.lifecycle import OfferingState as S
from bursar.catalogue.lifecycle import after

EXPECTED = {
    (S.DRAFT, A.ACTIVATE): S.ACTIVE,
    (S.DRAFT, A.PAUSE): None,
    (S.DRAFT, A.ARCHIVE): S.ARCHIVED,
    (S.DRAFT, A.REOPEN): None,
    (S.ACTIVE, A.ACTIVATE): None,
    (S.ACTIVE, A.PAUSE): S.PAUSED,
    (S.ACTIVE, A.ARCHIVE): None,
    (S.ACTIVE, A.REOPEN): None,
    (S.PAUSED, A.ACTIVATE): S.ACTIVE,
    (S.PAUSED, A.PAUSE): None,
    (S.PAUSED, A.ARCHIVE): S.ARCHIVED,
    (S.PAUSED, A.REOPEN): None,
    (S.ARCHIVED, A.ACTIVATE): None,
    (S.ARCHIVED, A.PAUSE): None,
    (S.ARCHIVED, A.ARCHIVE): None,
    (S.ARCHIVED, A.REOPEN): S.PAUSED,
}


@pytest.mark.parametrize(("state", "action"), list(itertools.product(S, A)))
def test_after__every_state_and_action__as_the_table_says(state, action):
    assert after(state, action) == EXPECTED[state, action]
