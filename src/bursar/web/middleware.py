"""What happens around every page."""

import zoneinfo
from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers

from bursar.kernel import clock
from bursar.kernel.errors import DomainError
from bursar.web.errors import refusal_page
from bursar.web.viewer import Viewer

Answer = Callable[[HttpRequest], HttpResponseBase]


class LoginRequired(LoginRequiredMiddleware):
    """Every page needs a login unless it says otherwise; the API has its own ways to know who asks."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        if request.path.startswith("/api/"):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)


class At:
    """Read the clock once per request (`request.at`), and know who asks and in which language and time zone."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.at = clock.now()  # type: ignore[attr-defined]
        request.viewer = Viewer(request)  # type: ignore[attr-defined]
        if request.path.startswith("/api/"):
            return self.get_response(request)
        zone = "UTC"
        if request.user.is_authenticated:
            zone = request.user.time_zone
            if translation.check_for_language(request.user.language):
                translation.activate(request.user.language)
                request.LANGUAGE_CODE = translation.get_language()  # type: ignore[attr-defined]
        try:
            timezone.activate(zoneinfo.ZoneInfo(zone))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            timezone.activate(zoneinfo.ZoneInfo("UTC"))
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()


class Refusals:
    """Turn a refusal that a view lets through into a page with its words and the right status; bugs pass on."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return refusal_page(request, exception) if isinstance(exception, DomainError) else None


class Htmx:
    """Redirects and messages reach a person also when htmx made the request."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        # The same address answers with a page or with a part of it.
        patch_vary_headers(response, ["HX-Request"])
        if request.headers.get("HX-Request") != "true":
            return response
        if response.status_code in {301, 302, 303, 307, 308}:
            answer = HttpResponse(status=200)
            answer["HX-Redirect"] = response["Location"]
            answer.cookies = response.cookies
            return answer
        if (
            isinstance(response, HttpResponse)
            and request.headers.get("HX-Request-Type") == "partial"
            and "text/html" in response.get("Content-Type", "")
            and "HX-Redirect" not in response
        ):
            pending = list(get_messages(request))
            if pending:
                toasts = render_to_string("bursar/parts/toasts_swap.html", {"messages": pending}, request)
                response.content = response.content + toasts.encode()
        return response
