"""Usage reports in."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from ninja import Router, Schema
from pydantic import AwareDatetime, ConfigDict, Field

from bursar.api.accounting import WhyOut
from bursar.api.auth import at_of, person_of
from bursar.api.problems import PROBLEMS, problem
from bursar.metering.reports import Report
from bursar.metering.services import REPORTS_MAX, post_reports

router = Router(tags=["Usage"])

# A report is some 300 bytes; ten thousand with long labels stay well below.
BODY_MAX_BYTES: Final = 20 * 1024 * 1024


# The shapes as they are documented. What comes in is read by msgspec from the bytes: ten thousand reports take
# milliseconds that way, and ten times as long through pydantic.
class ReportIn(Schema):
    """What was used during `[period_start, period_end)`, in ticks of the category."""

    model_config = ConfigDict(extra="forbid")

    report_id: str = Field(max_length=200, description="yours to choose; once per category, for ever")
    category_id: int
    workspace_id: int
    amount_ticks: int = Field(description="a difference, or (is_absolute) a level")
    period_start: AwareDatetime
    period_end: AwareDatetime = Field(description="at most 5 minutes ahead of now")
    is_absolute: bool = False
    scope: str = Field("", max_length=200, description="what the level is of: a job, a drive; empty = the whole wallet")
    corrects: str = Field("", max_length=200, description="the report id whose amount this one replaces")
    resource_id: int | None = None
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


class _Report(msgspec.Struct, forbid_unknown_fields=True):
    report_id: str
    category_id: int
    workspace_id: int
    amount_ticks: int
    period_start: datetime
    period_end: datetime
    is_absolute: bool = False
    scope: str = ""
    corrects: str = ""
    resource_id: int | None = None
    person_id: int | None = None
    user: str = ""
    job: str = ""
    labels: dict[str, str] = {}


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    reports: list[_Report]


_read: Final[Callable[[bytes], _Body]] = msgspec.json.Decoder(_Body).decode
_write: Final = msgspec.json.Encoder()


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
                }
            },
        }
    },
)
def report_usage(request: HttpRequest) -> HttpResponse:
    """At most 10,000 reports, each counted once for ever: all of them or none.

    Usage beyond quota is never refused. The answer says what is left in each wallet touched, and why it is locked.
    """
    content = request.read(BODY_MAX_BYTES + 1)  # Django's own bound is made for forms and lies below
    if len(content) > BODY_MAX_BYTES:
        return problem(request, 413, "too_large", gettext("Send fewer reports at once."))
    try:
        body = _read(content)
    except msgspec.ValidationError as fault:
        said, _dash, place = str(fault).partition(" - at `$")
        location = "body" + place.rstrip("`").replace("[", ".").replace("]", "")
        return problem(
            request,
            422,
            "invalid_request",
            gettext("The request does not fit what is expected; see `errors`."),
            errors=[{"location": location, "message": said, "code": "invalid"}],
        )
    except msgspec.DecodeError as fault:
        return problem(request, 400, "malformed", str(fault))
    reports = [Report(**msgspec.structs.asdict(one)) for one in body.reports]
    answer = post_reports(reports=reports, by=person_of(request), at=at_of(request))
    return HttpResponse(_write.encode(answer), content_type="application/json")
