"""What the contract's values look like between processes, and what is made of something else."""

from datetime import UTC, datetime

import pytest

from bursar.plugins import wire
from bursar.plugins.contract import (
    Busy,
    ComponentQuota,
    DesiredResource,
    Done,
    Member,
    NeedsAction,
    Outcome,
    Ref,
    Refused,
    UsageRecord,
)

WISH = DesiredResource(
    id=17,
    slug="climate-17",
    name='"; rm -rf ~ #',
    offering_slug="thor",
    organization=Ref(1, "uni-a", "University A"),
    projects=(Ref(2, "climate", "Climate"),),
    owner=None,
    plan="standard",
    limits={"cpu": 100},
    form={"purpose": "ein Ö"},
    members=(Member(5, "ada@uni-a.example", "Ada Å", "ada", ("ssh-ed25519 AAAA",)),),
    generation=3,
    state={"account": "climate-17"},
)


def test_dump__a_wish__comes_back_as_it_was() -> None:
    assert wire.load(DesiredResource, wire.dump(WISH)) == WISH


def test_dump__a_record__keeps_its_instants_to_the_microsecond() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
    record = UsageRecord("job 1", 17, "cpu", 2**62, at, at, absolute=True, labels={"partition": "main"})
    assert wire.load(UsageRecord, wire.dump(record)) == record


def test_dump__a_list__needs_its_type() -> None:
    quota = [ComponentQuota("cpu", None, locked=False), ComponentQuota("gpu", 0, locked=True, reported=7)]
    assert wire.load(list[ComponentQuota], wire.dump(quota, list[ComponentQuota])) == quota


@pytest.mark.parametrize(
    ("outcome", "word"),
    [(Done("17", {"a": 1}, {"host": "x"}), "done"), (Busy(5, "soon"), "busy"), (NeedsAction("cable"), "needs_action"),
     (Refused("no"), "refused")],
)  # fmt: skip
def test_dump_answer__each_kind__says_which_it_is(outcome: Outcome, word: str) -> None:
    told = wire.dump_answer(outcome)
    assert told["answer"] == word
    assert wire.load_answer(told) == outcome


def test_load_answer__a_field_of_a_younger_version__is_passed_over() -> None:
    assert wire.load_answer({"answer": "done", "backend_id": "17", "mood": "good"}) == Done("17")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "an answer is an object with a field `answer`"),
        ([], "an answer is an object with a field `answer`"),
        ({"answer": "perhaps"}, "answer: one of done, busy, needs_action, refused"),
        ({"answer": "busy"}, "retry_after_seconds: Field required"),
        (
            {"answer": "busy", "retry_after_seconds": "s3cret"},
            "retry_after_seconds: Input should be a valid integer, unable to parse string as an integer",
        ),
    ],
)
def test_load_answer__something_else__says_where_and_repeats_nothing(data: object, says: str) -> None:
    with pytest.raises(wire.Unreadable) as refusal:
        wire.load_answer(data)
    assert str(refusal.value) == says
