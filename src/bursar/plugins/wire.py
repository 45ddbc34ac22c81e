"""The contract's values as JSON: what the feed, the agent and a provider's own commands say to each other.

Reading is strict about what is there (types, bounds of time, no unknown answers) and easy about what is new: a field that
this version does not know is passed over, so that either side may be younger.
"""

import json
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from bursar.plugins.contract import Busy, Done, NeedsAction, Outcome, Refused

T = TypeVar("T")

ANSWERS: Mapping[str, type[Done] | type[Busy] | type[NeedsAction] | type[Refused]] = {
    "done": Done,
    "busy": Busy,
    "needs_action": NeedsAction,
    "refused": Refused,
}
"""The word that `answer` holds -> what it is."""


class Unreadable(ValueError):
    """What came is not what was to come; the message says where, and repeats nothing of it."""


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


def dump(value: Any, kind: Any = None) -> Any:
    """A value of the contract as JSON values.

    kind   its type where it cannot be seen from the value, such as `list[ComponentQuota]`
    """
    return _adapter(cast(Hashable, type(value) if kind is None else kind)).dump_python(value, mode="json")


def load(kind: type[T], data: Any) -> T:
    """JSON values as a value of the contract.

    raises   Unreadable
    """
    try:
        loaded: T = _adapter(cast(Hashable, kind)).validate_python(data)
        return loaded
    except ValidationError as error:
        raise Unreadable(where_and_why(error)) from None


def where_and_why(error: ValidationError) -> str:
    """The first three faults, without the input, which may hold anything."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    told = [f"{'.'.join(str(part)[:40] for part in fault['loc']) or 'it'}: {fault['msg']}" for fault in faults[:3]]
    return "; ".join(told)[:500]


def to_text(value: Any) -> str:
    """JSON values as one line of text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dump_answer(outcome: Outcome) -> dict[str, Any]:
    """An answer with the word that says which it is: `{"answer": "busy", "retry_after_seconds": 5, ...}`."""
    word = next(word for word, kind in ANSWERS.items() if isinstance(outcome, kind))
    return {"answer": word, **dump(outcome)}


def load_answer(data: Any) -> Outcome:
    """raises   Unreadable"""
    if not isinstance(data, Mapping):
        raise Unreadable("an answer is an object with a field `answer`")
    kind = ANSWERS.get(str(data.get("answer", ""))[:40])
    if kind is None:
        raise Unreadable(f"answer: one of {', '.join(ANSWERS)}")
    outcome: Outcome = load(kind, {key: value for key, value in data.items() if key != "answer"})
    return outcome
