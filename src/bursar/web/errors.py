"""Pages that say what went wrong and what to do next."""

import sys
from dataclasses import dataclass

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import loader
from django.utils.translation import gettext as _

from bursar.kernel.errors import DomainError
from bursar.kernel.refusals import status, words
from bursar.structure.errors import RoleTooHigh
from bursar.structure.roles import NotAllowed


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an error page shows."""

    status: int
    title: str
    message: str
    icon: str = "alert-triangle"
    code: str = ""


def _titles(code: int) -> tuple[str, str]:
    return {
        400: (_("This request could not be read"), "alert-triangle"),
        403: (_("You may not do this here"), "lock"),
        404: (_("There is nothing here"), "map-search"),
        409: (_("This cannot be done now"), "alert-triangle"),
        422: (_("Something in this needs changing"), "pencil"),
        429: (_("Too many attempts"), "clock"),
        503: (_("Not available at the moment"), "plug-connected-x"),
    }.get(code, (_("Something broke on our side"), "bug"))


def trouble_page(request: HttpRequest, code: int, message: str, name: str = "") -> HttpResponse:
    """An error as a page, or as a short notice when htmx asked for a part of one."""
    title, icon = _titles(code)
    trouble = Trouble(code, title, message, icon, name)
    template = "bursar/parts/trouble.html" if is_partial(request) else "bursar/trouble.html"
    return render(request, template, {"trouble": trouble}, status=code)


def refusal_page(request: HttpRequest, refusal: DomainError) -> HttpResponse:
    """The words of a refusal, on a page with the status of its kind."""
    return trouble_page(request, status(refusal), words(refusal, _), refusal.code)


def is_about_rights(refusal: DomainError) -> bool:
    """Whether the role table says no: that is a page of its own (403), not a word beside a form or a button."""
    return isinstance(refusal, NotAllowed | RoleTooHigh)


def is_partial(request: HttpRequest) -> bool:
    """Whether htmx wants a part of a page rather than a whole one."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Request-Type") != "full"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return trouble_page(request, 400, _("Go back and try again; if it happens again, tell your support."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    said = str(exception) if isinstance(exception, PermissionDenied) else ""
    return trouble_page(
        request, 403, said or _("If you think you should be able to, ask an owner of the organization or project.")
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return trouble_page(request, 404, _("It may have been moved, or it is not visible to you."))


def server_error(request: HttpRequest) -> HttpResponse:
    """A bug, or the database is away. Uses nothing that could itself be broken: no database, no session."""
    away = isinstance(sys.exception(), OperationalError | InterfaceError)
    told = {
        "title": _titles(503 if away else 500)[0],
        "words": _(
            "The database cannot be reached. Try again in a moment, and look whether what you were doing was done."
        )
        if away
        else _("It was written down. What you were doing was not saved; try again in a moment."),
        "request_id": getattr(request, "request_id", ""),
    }
    return HttpResponse(loader.render_to_string("500.html", told), status=503 if away else 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return trouble_page(
        request, 403, _("This form has expired, perhaps because you logged in again. Reload the page and send it anew.")
    )
