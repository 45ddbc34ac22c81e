"""What every template knows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from bursar.grants.selectors import unread_notices
from bursar.web.navigation import menu_for


def _unread(request: HttpRequest) -> int:
    viewer = request.viewer  # type: ignore[attr-defined]
    return unread_notices(viewer.person, viewer.at, viewer.memberships) if viewer.person is not None else 0


def shell(request: HttpRequest) -> dict[str, Any]:
    """The menu, how much is unread, the chosen colours ("light", "dark" or "" for the system's), the time zone, and whether
    this is a demo. What costs a query is asked once, and only by pages that show it."""
    theme = request.COOKIES.get("theme", "")
    return {
        "menu": SimpleLazyObject(lambda: menu_for(request)) if hasattr(request, "viewer") else [],
        "unread": SimpleLazyObject(lambda: _unread(request)) if hasattr(request, "viewer") else 0,
        "theme": theme if theme in {"light", "dark"} else "",
        "TIME_ZONE": timezone.get_current_timezone_name(),
        "DEMO": settings.DEMO,
        "at": getattr(request, "at", None),
    }
