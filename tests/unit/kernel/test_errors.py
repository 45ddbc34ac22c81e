import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import ClassVar

import pytest

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.quantity import NotANumber, NotWholeTicks
from bursar.kernel.refusals import STATUS, status, words


@dataclass(eq=False)
class QuotaTooSmall(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "quota_too_small"
    message: ClassVar[str] = "{wanted} is less than the {drawn} drawn by {who}."
    wanted: int
    drawn: int
    who: str = "the project"


def refuse_from(cause: Exception) -> None:
    raise QuotaTooSmall(wanted=1, drawn=2) from cause


def test_str__facts__are_in_the_message() -> None:
    refusal = QuotaTooSmall(wanted=5, drawn=7, who="{wanted} {0.__class__}")
    assert str(refusal) == "5 is less than the 7 drawn by {wanted} {0.__class__}."
    assert refusal.facts == {"wanted": 5, "drawn": 7, "who": "{wanted} {0.__class__}"}


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_copy__refusal__keeps_class_and_facts(again) -> None:  # type: ignore[no-untyped-def]
    for refusal in (QuotaTooSmall(wanted=5, drawn=7), NotWholeTicks(text="x", unit="h", below="0", above="1")):
        other = again(refusal)
        assert type(other) is type(refusal)
        assert other.facts == refusal.facts
        assert str(other) == str(refusal)


def test_raise__in_another_process__arrives_whole() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        future = pool.submit(_read, "x")
        with pytest.raises(NotANumber) as refused:
            future.result(timeout=60)
    assert refused.value.facts == {"text": "x"}


def _read(text: str) -> int:
    from bursar.kernel.quantity import Unit

    return Unit("core-hours", 3600).ticks(text)


def test_raise__from_another__keeps_the_cause() -> None:
    # The runtime writes __traceback__ and __cause__ on an exception: a frozen dataclass would refuse that.
    with pytest.raises(QuotaTooSmall) as refused:
        refuse_from(KeyError("x"))
    assert isinstance(refused.value.__cause__, KeyError)
    assert refused.value.__traceback__ is not None


def test_equal__two_refusals_with_the_same_facts__are_two() -> None:
    assert QuotaTooSmall(wanted=1, drawn=2) != QuotaTooSmall(wanted=1, drawn=2)
    assert len({QuotaTooSmall(wanted=1, drawn=2), QuotaTooSmall(wanted=1, drawn=2)}) == 2


def test_status__each_kind__has_one() -> None:
    assert set(STATUS) == set(Kind)
    assert status(QuotaTooSmall(wanted=1, drawn=2)) == 409


def test_words__translated_template__holds_the_facts() -> None:
    german = {"{wanted} is less than the {drawn} drawn by {who}.": "{who} hat {drawn}, also nicht {wanted}."}
    assert words(QuotaTooSmall(wanted=1, drawn=2), german.__getitem__) == "the project hat 2, also nicht 1."
