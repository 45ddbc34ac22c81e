"""Everything that goes wrong is answered as `application/problem+json` (source: RFC 9457)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError
from pydantic import Field

from bursar.kernel.errors import DomainError
from bursar.kernel.refusals import status, words

logger = logging.getLogger(__name__)

TITLES: Final[Mapping[int, Any]] = {
    400: _("The request could not be read"),
    401: _("It is not known who asks"),
    403: _("Not allowed"),
    404: _("Not found"),
    405: _("This address does not answer that method"),
    409: _("This cannot be done now"),
    413: _("The request is too large"),
    415: _("This kind of content is not read here"),
    422: _("Something in this needs changing"),
    429: _("Too many attempts"),
    500: _("Something broke on our side"),
    503: _("Not available at the moment"),
}


class FieldProblem(Schema):
    """What is wrong with one part of a request."""

    location: str = Field(description="where: body.limits.cpu, query.limit, path.id")
    message: str
    code: str


class Problem(Schema):
    """The answer to a request that was refused, and then nothing was changed; or (500, 503) that broke off."""

    type: str = Field(description="urn:bursar:problem:<code>: stable, for programs")
    title: str = Field(description="what sort of problem")
    status: int
    detail: str = Field(description="what is wrong and what to do next, for people")
    code: str = Field(description="stable, for programs")
    instance: str = Field("", description="the address that was asked")
    request_id: str = Field("", description="to be told to support")
    errors: list[FieldProblem] = []
    facts: dict[str, Any] = Field({}, description="the values the message speaks of")


# For `response={201: Out, **PROBLEMS}`: what every writing operation may answer. No schema stands here, since the library would
# make and describe one for each status of each operation, which takes seconds; `describe_problems` adds it once.
PROBLEMS: Final[dict[int, None]] = dict.fromkeys((401, 403, 404, 409, 422))


def describe_problems(description: dict[str, Any]) -> None:
    """Say in the API's description that what is refused is answered by a Problem."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    description["components"]["schemas"] |= schema.pop("$defs") | {Problem.__name__: schema}
    content = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    for operations in description["paths"].values():
        for told in operations.values():
            for code in PROBLEMS.keys() & told["responses"].keys():
                told["responses"][code]["content"] = content


def problem(
    request: HttpRequest,
    code: int,
    name: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    facts: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """One problem as a response.

    name    the stable code
    facts   what can be told to programs; values that JSON does not know are written as text
    """
    body: dict[str, Any] = {
        "type": f"urn:bursar:problem:{name}",
        "title": str(TITLES.get(code, TITLES[500])),
        "status": code,
        "detail": detail,
        "code": name,
        "instance": request.path,
        "request_id": getattr(request, "request_id", ""),
    }
    if errors:
        body["errors"] = list(errors)
    if facts:
        body["facts"] = dict(facts)
    return JsonResponse(
        body,
        status=code,
        content_type="application/problem+json",
        json_dumps_params={"default": str, "ensure_ascii": False},
        headers=dict(headers or {}),
    )


def refused(request: HttpRequest, refusal: DomainError) -> HttpResponse:
    """A refusal in the words the pages use."""
    errors = []
    detail = words(refusal, gettext)
    facts = dict(refusal.facts)
    field = facts.get("field")
    if field:
        errors.append({"location": f"body.{field}", "message": detail, "code": refusal.code})
    by_field = facts.get("errors")
    if isinstance(by_field, Mapping):
        errors += [
            {"location": f"body.{name}", "message": text, "code": refusal.code} for name, text in by_field.items()
        ]
    errors += [
        {
            "location": ".".join(filter(None, ("body.reports", str(fault.index), fault.field))),
            "message": " ".join(filter(None, (gettext(fault.message), fault.detail))),
            "code": fault.code,
            "report_id": fault.report_id,
        }
        for fault in facts.pop("faults", ())  # of usage reports: each at its place
    ]
    place = facts.pop("place", "")
    errors += [
        {
            "location": ".".join(
                filter(None, ("body", each.place or place, str(each.index), each.refusal.facts.get("field", "")))
            ),
            "message": words(each.refusal, gettext),
            "code": each.refusal.code,
        }
        for each in facts.pop("each", ())
    ]
    return problem(request, status(refusal), refusal.code, detail, errors=errors, facts=facts)


def _location(parts: Sequence[Any]) -> str:
    """`("body", "payload", "limits", "cpu")` -> `body.limits.cpu`: the name of the view's argument is nobody's business."""
    where = [str(part) for part in parts]
    if where[:1] == ["body"] and len(where) > 2:
        del where[1]
    return ".".join(where)


def _invalid(request: HttpRequest, exc: ValidationError) -> HttpResponse:
    errors = [
        {
            "location": _location(error.get("loc", ())),
            "message": str(error.get("msg", "")),
            "code": str(error.get("type", "invalid")),
        }
        for error in exc.errors
    ]
    return problem(
        request,
        422,
        "invalid_request",
        gettext("The request does not fit what is expected; see `errors`."),
        errors=errors,
    )


class TooManyAttempts(Exception):
    """Tokens that do not exist were tried too often from one address."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(wait_seconds)
        self.wait_seconds = wait_seconds


def handle(api: NinjaAPI) -> None:
    """Make the API answer each kind of trouble as a problem."""

    @api.exception_handler(DomainError)
    def on_refusal(request: HttpRequest, exc: DomainError) -> HttpResponse:
        return refused(request, exc)

    @api.exception_handler(ValidationError)
    def on_invalid(request: HttpRequest, exc: ValidationError) -> HttpResponse:
        return _invalid(request, exc)

    @api.exception_handler(Http404)
    def on_missing(request: HttpRequest, exc: Http404) -> HttpResponse:
        return problem(request, 404, "not_found", gettext("It does not exist, or it is not visible to you."))

    @api.exception_handler(PermissionDenied)
    def on_denied(request: HttpRequest, exc: PermissionDenied) -> HttpResponse:
        return problem(request, 403, "not_allowed", str(exc) or gettext("You may not do this."))

    @api.exception_handler(RequestDataTooBig)
    def on_flood(request: HttpRequest, exc: RequestDataTooBig) -> HttpResponse:
        return problem(request, 413, "too_large", gettext("Send less at once."))

    @api.exception_handler(SuspiciousOperation)
    def on_suspicion(request: HttpRequest, exc: SuspiciousOperation) -> HttpResponse:
        return problem(request, 400, "malformed", gettext("The request could not be read."))

    @api.exception_handler(TooManyAttempts)
    def on_throttled(request: HttpRequest, exc: TooManyAttempts) -> HttpResponse:
        return problem(
            request,
            429,
            "too_many_attempts",
            gettext("Too many wrong tokens came from your address. Wait {seconds} seconds.").format(
                seconds=exc.wait_seconds
            ),
            headers={"Retry-After": str(exc.wait_seconds)},
        )

    @api.exception_handler(AuthenticationError)
    def on_stranger(request: HttpRequest, exc: AuthenticationError) -> HttpResponse:
        return problem(
            request,
            401,
            "not_authenticated",
            gettext("Send a valid token in the header “Authorization: Bearer …”; make one under “API tokens”."),
            headers={"WWW-Authenticate": 'Bearer realm="bursar"'},
        )

    @api.exception_handler(HttpError)
    def on_http_error(request: HttpRequest, exc: HttpError) -> HttpResponse:
        name = {400: "malformed", 403: "not_allowed", 413: "too_large", 415: "unsupported_content"}.get(
            exc.status_code, f"http_{exc.status_code}"
        )
        return problem(request, exc.status_code, name, str(exc))

    # Whether a commit that was under way when the database went away was still made nobody knows.
    @api.exception_handler(OperationalError)
    @api.exception_handler(InterfaceError)
    def on_database_away(request: HttpRequest, exc: Exception) -> HttpResponse:
        logger.error("the database went away in %s %s", request.method, request.path, exc_info=exc)
        return problem(
            request,
            503,
            "database_away",
            gettext("The database cannot be reached. Ask again in a moment, and look whether what was sent was done."),
            headers={"Retry-After": "5"},
        )

    # Whatever no operation looked at more closely; written down, since one that did would name the place.
    @api.exception_handler(DataError)
    @api.exception_handler(OverflowError)
    def on_value_beyond(request: HttpRequest, exc: Exception) -> HttpResponse:
        logger.error("a value that cannot be kept in %s %s", request.method, request.path, exc_info=exc)
        return problem(
            request,
            422,
            "value_cannot_be_kept",
            gettext("A number or an instant is too large or too small, or a text holds a character such as NUL."),
        )

    @api.exception_handler(Exception)
    def on_bug(request: HttpRequest, exc: Exception) -> HttpResponse:
        logger.error("unexpected error in %s %s", request.method, request.path, exc_info=exc)
        return problem(
            request,
            500,
            "unexpected",
            gettext(
                "This is a fault of ours; it was written down under the request id. Look whether what was sent was done before "
                "you send it again."
            ),
        )
