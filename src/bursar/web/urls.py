"""The addresses of all pages, gathered from one module per noun."""

from importlib import import_module
from importlib.util import find_spec
from typing import Final

from django.urls import URLPattern, URLResolver, include, path

# Each is `bursar/web/views/<noun>.py` with a list `urlpatterns`; one that does not exist is left out.
NOUNS: Final = (
    "home",
    "demo",
    "structure",
    "people",
    "catalogue",
    "marketplace",
    "provider",
    "set_aside",
    "orders",
    "resources",
    "accounts",
    "accounting",
    "usage",
    "grants",
    "billing",
    "budgets",
    "operator",
)


def gathered() -> list[URLPattern | URLResolver]:
    modules = [f"bursar.web.views.{noun}" for noun in NOUNS]
    return [path("", include(import_module(name).urlpatterns)) for name in modules if find_spec(name)]


urlpatterns = gathered()
