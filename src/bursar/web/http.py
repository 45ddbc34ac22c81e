"""Small answers that views share."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.refusals import words
from bursar.web.errors import is_about_rights

View = Callable[Concatenate[HttpRequest, ...], HttpResponse]


def page(
    request: HttpRequest, template: str, context: dict[str, Any] | None = None, *, form: Any = None
) -> HttpResponse:
    """A page; with a bound form that has errors it answers 422, so that programs and htmx see it was refused."""
    context = dict(context or {})
    if form is not None:
        context.setdefault("form", form)
    refused = form is not None and form.is_bound and form.errors
    return TemplateResponse(request, template, context, status=422 if refused else 200)


def back(request: HttpRequest, otherwise: str) -> HttpResponse:
    """To `next` if the request names a page of ours, else to the given address."""
    target = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(target if safe else otherwise)


def refusals_as_messages(to: Callable[..., str] | str) -> Callable[[View], View]:
    """For views that only do something: a refusal becomes a message on the page where the button stands.

    Not one about rights, or about something that is not there: those are answered with their status (403, 404).

    to      the address to return to, or a function of the view's own arguments that gives it
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                return view(request, *args, **kwargs)
            except DomainError as refusal:
                if is_about_rights(refusal) or refusal.kind == Kind.NOT_FOUND:
                    raise
                messages.error(request, words(refusal, gettext))
                return back(request, to if isinstance(to, str) else to(*args, **kwargs))

        return wrapped

    return decorate
