"""What the ledger refuses. Amounts are ticks; the accounting package puts them into the category's unit."""

from dataclasses import dataclass
from typing import ClassVar

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_


@dataclass(eq=False)
class LedgerRefusal(DomainError):
    """`quantities` names the facts that are ticks, so that an edge can write them in units."""

    quantities: ClassVar[tuple[str, ...]] = ()


@dataclass(eq=False)
class Overflow(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "overflow"
    message: ClassVar[str] = N_("The amounts add up to more than can be counted. Nothing was booked.")


@dataclass(eq=False)
class NegativeUsage(LedgerRefusal):
    """`wallets` are indexes into the book."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "negative_usage"
    message: ClassVar[str] = N_("More would be taken back than was ever used.")
    wallets: tuple[int, ...] = ()


@dataclass(eq=False)
class AllocationsNotUsed(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "allocations_not_used"
    message: ClassVar[str] = N_("This product category is free to use; it takes no allocations.")


@dataclass(eq=False)
class SuballocationNotAllowed(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "suballocation_not_allowed"
    message: ClassVar[str] = N_("In this product category only the provider may allocate.")


@dataclass(eq=False)
class SourceBelowRecipient(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "source_below_recipient"
    message: ClassVar[str] = N_("The source draws from the recipient itself. Allocate from another source.")


@dataclass(eq=False)
class EndNotAfterStart(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "end_not_after_start"
    message: ClassVar[str] = N_("The end has to lie after the start.")
    field: str = "end"


@dataclass(eq=False)
class EndInThePast(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "allocation_end_in_the_past"
    message: ClassVar[str] = N_("The end lies in the past. To end an allocation now, revoke it.")
    field: str = "end"


@dataclass(eq=False)
class NegativeQuota(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "negative_quota"
    message: ClassVar[str] = N_("A quota is zero or more.")
    field: str = "quota"


@dataclass(eq=False)
class QuotaBelowDrawn(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "quota_below_drawn"
    message: ClassVar[str] = N_("{drawn} is drawn through this allocation already; the quota cannot be lower.")
    quantities: ClassVar[tuple[str, ...]] = ("drawn",)
    drawn: int | str = 0
    field: str = "quota"


@dataclass(eq=False)
class StartIsFixed(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "start_is_fixed"
    message: ClassVar[str] = N_("This allocation has started; its start cannot be moved.")
    field: str = "start"


@dataclass(eq=False)
class AllocationClosed(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "allocation_closed"
    message: ClassVar[str] = N_("This allocation is closed and cannot be changed. Make a new one.")


@dataclass(eq=False)
class Overallocated(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "overallocated"
    message: ClassVar[str] = N_(
        "More would be given out than is held: {given} of {held}. This product category does not allow that."
    )
    quantities: ClassVar[tuple[str, ...]] = ("given", "held")
    given: int | str = 0
    held: int | str = 0
    field: str = "quota"


@dataclass(eq=False)
class DifferentSources(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "different_sources"
    message: ClassVar[str] = N_("Quota can be moved only between two allocations of the same source.")


@dataclass(eq=False)
class TransferTooLarge(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "transfer_too_large"
    message: ClassVar[str] = N_("At most {unused} is unused there and can be moved.")
    quantities: ClassVar[tuple[str, ...]] = ("unused",)
    unused: int | str = 0
    field: str = "amount"


@dataclass(eq=False)
class AmountNotPositive(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "amount_not_positive"
    message: ClassVar[str] = N_("The amount has to be more than zero.")
    field: str = "amount"


@dataclass(eq=False)
class WriteOffNotPossible(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "write_off_not_possible"
    message: ClassVar[str] = N_("Only usage of a category that accumulates over time can be written off.")


@dataclass(eq=False)
class WriteOffTooLarge(LedgerRefusal):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "write_off_too_large"
    message: ClassVar[str] = N_("Only {uncovered} stands uncovered here; no more can be written off.")
    quantities: ClassVar[tuple[str, ...]] = ("uncovered",)
    uncovered: int | str = 0
    field: str = "amount"
