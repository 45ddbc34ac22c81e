"""What accounting refuses; what the engine refuses is put into the category's unit on the way out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from bursar.engine.ledger import LedgerRefusal
from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_
from bursar.kernel.quantity import Unit


@dataclass(eq=False)
class WalletOfAnotherCategory(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "wallet_of_another_category"
    message: ClassVar[str] = N_("The source is a wallet of another product category.")
    field: str = "source"


@dataclass(eq=False)
class ReasonMissing(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "reason_missing"
    message: ClassVar[str] = N_("Say why: the reason is kept with what was written off.")
    field: str = "reason"


@dataclass(eq=False)
class QuantityOutOfRange(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "quantity_out_of_range"
    message: ClassVar[str] = N_("This amount is more than can be counted.")
    field: str = "quota"


@dataclass(eq=False)
class InstantOutOfRange(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "instant_out_of_range"
    message: ClassVar[str] = N_("An allocation starts in 1970 at the earliest and ends in 9990 at the latest.")
    field: str


@dataclass(eq=False)
class MoreTakenBackThanUsed(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "more_taken_back_than_used"
    message: ClassVar[str] = N_("More would be taken back than was ever used.")
    wallet_ids: tuple[int, ...]


@dataclass(eq=False)
class KnownInTheFuture(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "known_in_the_future"
    message: ClassVar[str] = N_("What will be known is not known yet. Give an instant up to now, or none.")
    field: str = "known_at"


@dataclass(eq=False)
class EffectiveAfterKnown(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "effective_after_known"
    message: ClassVar[str] = N_(
        "The balance is asked for an instant after the one at which it was known. For what may come, ask “what if”."
    )
    field: str = "effective_at"


@dataclass(eq=False)
class StepOutsideTime(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "step_outside_time"
    message: ClassVar[str] = N_(
        "What is tried lies between now and the end of the time looked at, which is at most ten years ahead; a rate is "
        "not negative."
    )
    field: str = "steps"


@dataclass(eq=False)
class StepIncomplete(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "step_incomplete"
    message: ClassVar[str] = N_("Step {number} needs “{missing}”.")
    number: int
    missing: str
    field: str = "steps"


@dataclass(eq=False)
class StepRefused(DomainError):
    """`refused` is the code with which the ledger would refuse the step."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "step_refused"
    message: ClassVar[str] = N_("Step {number} would be refused: {reason}")
    number: int
    reason: str
    refused: str
    field: str = "steps"


@contextmanager
def in_units(unit: Unit) -> Iterator[None]:
    """Let the engine's refusals speak in the category's unit instead of ticks."""
    try:
        yield
    except LedgerRefusal as refusal:
        if not refusal.quantities:
            raise
        words = {name: f"{unit.text(refusal.facts[name])} {unit.name}" for name in refusal.quantities}
        raise type(refusal)(**{**refusal.facts, **words}) from None
