"""The API of version 1, gathered from one router per noun."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from bursar import __version__
from bursar.api.auth import AUTH
from bursar.api.docs import ServedDocs
from bursar.api.problems import describe_problems, handle

# Each is `bursar/api/<noun>.py` with a `router`; one that does not exist is left out.
NOUNS: Final = (
    "structure",
    "catalogue",
    "accounting",
    "ledger",
    "metering",
    "usage",
    "provisioning",
    "accounts",
    "grants",
    "billing",
    "budgets",
    "provider",
    "delivery",
    "events",
)

MOST_ASKED: Final = "usage/reports"


class Api(NinjaAPI):
    """Its description takes seconds to make and never changes while the process runs, so it is made once."""

    _described: OpenAPISchema | None = None

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """Addresses are tried one after the other, and that of reports is asked more often than all others together."""
        patterns, application, namespace = super().urls
        return sorted(patterns, key=lambda one: str(one.pattern) != MOST_ASKED), application, namespace

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        if self._described is None:
            described = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
            describe_problems(described)
            self._described = described
        return self._described


api = Api(
    title="Bursar",
    version="1",
    description=(
        "The marketplace and the accounting office of shared research computing. "
        "Times are UTC; quantities are whole ticks of their product category, each with its unit beside it. "
        "What is refused is answered as application/problem+json."
    ),
    urls_namespace="api",
    auth=AUTH,
    docs=ServedDocs(),
    openapi_extra={"info": {"x-bursar-version": __version__, "license": {"name": "Apache-2.0"}}},
)
handle(api)

for noun in NOUNS:
    if find_spec(f"bursar.api.{noun}"):
        api.add_router("", import_module(f"bursar.api.{noun}").router)
