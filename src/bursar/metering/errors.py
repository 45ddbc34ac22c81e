"""Why a request of reports is refused: every report at fault, by its place, with a code and words."""

from dataclasses import dataclass
from typing import ClassVar

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one report of a request. `index` counts from 0.

    field    which part of the report is meant, where one is
    detail   what the reader of the request said of it: not translated
    """

    index: int
    report_id: str
    code: str
    message: str
    field: str = ""
    detail: str = ""


# What can be wrong with one report; the edge translates the words.
FAULTS: dict[str, str] = {
    "report_id_missing": N_("The report has no id."),
    "text_too_long": N_("An id, scope, user, job or label is longer than 200 characters."),
    "text_not_storable": N_("A text holds a character that cannot be kept, such as NUL."),
    "overflow": N_("The amount is more than can be counted."),
    "id_out_of_range": N_("There is no such resource or person."),
    "period_empty": N_("The period ends before or when it starts."),
    "period_without_time_zone": N_("The period needs a time zone."),
    "in_the_future": N_("The usage lies more than 5 minutes ahead."),
    "long_ago": N_("The period starts before 1970."),
    "negative_level": N_("A level cannot be negative."),
    "unknown_category": N_("There is no such product category."),
    "unknown_workspace": N_("There is no such workspace."),
    "unknown_person": N_("There is no such person."),
    "not_your_category": N_("You may not report usage in this product category."),
    "report_conflict": N_("Another report with this id was accepted before, with other content."),
    "mixed_levels": N_("This wallet takes levels of scopes or of the whole, not both."),
    "unknown_original": N_("The report to be corrected is not known."),
    "corrects_a_correction": N_("Name the first report, not a correction of it."),
    "original_of_another_workspace": N_("The report to be corrected belongs to another workspace."),
    "invalid": N_("The report does not have the form that is expected."),
    "wallet_missing": N_("Name a workspace and a product category, or a resource and its component."),
    "unknown_resource": N_("There is no such resource, or you may not report its usage."),
    "resource_of_another_workspace": N_("The resource belongs to another workspace."),
    "unknown_component": N_("The resource has no such component."),
    "component_missing": N_(
        "Several components of this resource are counted in this category: name the one that was used."
    ),
    "component_not_metered": N_(
        "The use of this component is not reported: its limit says what it takes, or it draws on nothing."
    ),
    "component_of_another_category": N_("The resource's component draws on another product category."),
    "negative_usage": N_("More would be taken back than was ever used."),
}


def fault(index: int, report_id: str, code: str, *, field: str = "", detail: str = "") -> Fault:
    return Fault(index, report_id[:200], code, FAULTS[code], field, detail)


@dataclass(eq=False)
class ReportsAtFault(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "reports_at_fault"
    message: ClassVar[str] = N_(
        "{count} of the reports cannot be taken; none was booked. Set them aside and send the rest."
    )
    count: int
    faults: tuple[Fault, ...]


@dataclass(eq=False)
class ReportConflict(DomainError):
    """Some ids are taken by other content; `faults` holds these and whatever else is wrong."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "report_conflict"
    message: ClassVar[str] = N_("These report ids were used before with other content: {ids}. Nothing was booked.")
    ids: str
    report_ids: tuple[str, ...]
    faults: tuple[Fault, ...]


@dataclass(eq=False)
class TooManyReports(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "too_many_reports"
    message: ClassVar[str] = N_("A request takes at most {limit} reports; this one has {count}. Split it.")
    limit: int
    count: int


@dataclass(eq=False)
class BookingBrokeOff(DomainError):
    """Something broke while another request booked this one's reports too."""

    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "booking_broke_off"
    message: ClassVar[str] = N_(
        "The reports could not be booked just now. Send them again: what was booked is then told as a duplicate."
    )
