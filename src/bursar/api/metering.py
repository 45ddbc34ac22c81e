"""Usage reports in."""

from collections.abc import Sequence
from typing import Final

import msgspec
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from ninja import Router, Schema
from pydantic import AwareDatetime, Field

from bursar.api.accounting import WhyOut
from bursar.api.auth import at_of, person_of
from bursar.api.problems import PROBLEMS, problem
from bursar.api.strict import Strict
from bursar.metering.errors import Fault, fault
from bursar.metering.reports import Report, Told
from bursar.metering.services import REPORTS_MAX
from bursar.provisioning.services.reported import NOTHING, post_told

router = Router(tags=["Usage"])

# A report is some 300 bytes; ten thousand with long labels stay well below.
BODY_MAX_BYTES: Final = 20 * 1024 * 1024


# The shapes as they are documented. What comes in is read by msgspec from the bytes: ten thousand reports take
# milliseconds that way, and ten times as long through pydantic.
class ReportIn(Strict):
    """What was used during `[period_start, period_end)`, in ticks of the category."""

    report_id: str = Field(max_length=200, description="yours to choose; once per category, for ever")
    category_id: int | None = Field(None, description="with a workspace; or name a resource and its component")
    workspace_id: int | None = None
    amount_ticks: int = Field(description="a difference, or (is_absolute) a level")
    period_start: AwareDatetime
    period_end: AwareDatetime = Field(description="at most 5 minutes ahead of now")
    is_absolute: bool = False
    scope: str = Field("", max_length=200, description="what the level is of: a job, a drive; empty = the whole wallet")
    corrects: str = Field("", max_length=200, description="the report id whose amount this one replaces")
    resource_id: int | None = Field(None, description="the resource that was used; its wallet is charged")
    component: str = Field("", description="key of the resource's component that was used")
    person_id: int | None = None
    user: str = Field("", max_length=200, description="the name of the user at the provider")
    job: str = Field("", max_length=200)
    labels: dict[str, str] = {}


class BalanceOut(Schema):
    category_id: int
    workspace_id: int
    wallet_id: int
    used_ticks: int
    available_ticks: int | None = Field(description="null: free to use, no bound")
    uncovered_ticks: int
    locked: bool
    over: bool
    why: list[WhyOut]


class ReportsOut(Schema):
    posted: int = Field(description="how many were booked by this request")
    duplicates: list[str] = Field(description="ids that were booked before; they change nothing")
    balances: list[BalanceOut] = Field(description="one for each wallet touched, as it stands now")


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    reports: list[Report]


class _AnyBody(msgspec.Struct, forbid_unknown_fields=True):
    reports: list[msgspec.Raw]


_read: Final = msgspec.json.Decoder(_Body).decode
_read_lines: Final = msgspec.json.Decoder(Report).decode_lines
_read_any: Final = msgspec.json.Decoder(_AnyBody).decode
_read_told: Final = msgspec.json.Decoder(Told).decode
_write: Final = msgspec.json.Encoder().encode
_LINES: Final = {"application/x-ndjson", "application/ndjson", "application/jsonl"}


class _Named(msgspec.Struct):
    report_id: str = ""


_read_name: Final = msgspec.json.Decoder(_Named).decode
# Beside DecodeError: bytes that are no text, and more brackets in one another than can be followed.
_UNREADABLE: Final = (UnicodeDecodeError, RecursionError)


def _reports(content: bytes, *, by_line: bool) -> tuple[Sequence[Report | Told], list[Fault]]:
    """The reports of a body; where some do not have the form, each is read by itself, so that all of those are named.

    raises   msgspec.DecodeError where the body as a whole cannot be read
    """
    try:
        return (_read_lines(content) if by_line else _read(content).reports), []
    except (msgspec.DecodeError, *_UNREADABLE):  # also of a report by resource, which the quick reader does not know
        pass
    try:
        parts = content.split(b"\n") if by_line else _read_any(content).reports
    except _UNREADABLE as error:
        raise msgspec.DecodeError(_said(error)) from None
    reports: list[Report | Told] = []
    faults: list[Fault] = []
    for part in parts:
        if by_line and not bytes(part).strip():
            continue
        try:
            reports.append(_read_told(part))
        except (msgspec.DecodeError, *_UNREADABLE) as error:
            said, _, place = _said(error).partition(" - at `$.")
            faults.append(fault(len(reports), _name(part), "invalid", field=place.rstrip("`"), detail=said))
            reports.append(NOTHING)
    return reports, faults


def _said(error: Exception) -> str:
    return gettext("It is nested too deeply.") if isinstance(error, RecursionError) else str(error)


def _name(part: bytes | msgspec.Raw) -> str:
    """The id of a report that has not the form otherwise, as far as it can be read."""
    try:
        return _read_name(part).report_id
    except (msgspec.DecodeError, *_UNREADABLE):
        return ""


@router.post(
    "/usage/reports",
    response={200: ReportsOut, **PROBLEMS},
    summary="Report usage",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["reports"],
                        "properties": {
                            "reports": {
                                "type": "array",
                                "maxItems": REPORTS_MAX,
                                "items": ReportIn.model_json_schema(),
                            }
                        },
                    }
                },
                "application/x-ndjson": {"schema": ReportIn.model_json_schema()},
            },
        }
    },
)
def report_usage(request: HttpRequest) -> HttpResponse:
    """At most 10,000 reports, each counted once for ever: all of them or none. As one JSON object, or a report on each line.

    A refused request names every report that is at fault by its index, so that the others can be sent again without them.
    Usage beyond quota is never refused. The answer says what is left in each wallet touched, and why it is locked.
    """
    if request.content_type not in {"application/json", *_LINES} or request.headers.get("Content-Encoding"):
        said = gettext(
            "Send application/json, or application/x-ndjson with a report on each line, without compression."
        )
        return problem(request, 415, "unsupported_content", said)
    content = request.read(BODY_MAX_BYTES + 1)  # Django's own bound is made for forms and lies below
    if len(content) > BODY_MAX_BYTES:
        return problem(request, 413, "too_large", gettext("Send fewer reports at once."))
    try:
        reports, faults = _reports(content, by_line=request.content_type in _LINES)
    except msgspec.ValidationError as error:
        said, _dash, place = str(error).partition(" - at `$")
        location = "body" + place.rstrip("`").replace("[", ".").replace("]", "")
        return problem(
            request,
            422,
            "invalid_request",
            gettext("The request does not fit what is expected; see `errors`."),
            errors=[{"location": location, "message": said, "code": "invalid"}],
        )
    except msgspec.DecodeError as error:
        return problem(request, 400, "malformed", str(error))
    answer = post_told(reports=reports, faults=faults, by=person_of(request), at=at_of(request))
    return HttpResponse(_write(answer), content_type="application/json")
