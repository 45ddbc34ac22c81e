"""What every template knows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from bursar.web.navigation import menu_for


def shell(request: HttpRequest) -> dict[str, Any]:
    """The menu, the chosen colours ("light", "dark" or "" for the system's), the time zone, and whether this is a demo."""
    theme = request.COOKIES.get("theme", "")
    return {
        "menu": SimpleLazyObject(lambda: menu_for(request)) if hasattr(request, "viewer") else [],
        "theme": theme if theme in {"light", "dark"} else "",
        "TIME_ZONE": timezone.get_current_timezone_name(),
        "DEMO": settings.DEMO,
        "at": getattr(request, "at", None),
    }
