"""Answers under /api that no operation gave are problems too."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed
from django.utils.translation import gettext

from bursar.api.problems import problem


class ApiProblems:
    """Unknown addresses and methods under /api are told in the same form as everything else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not request.path.startswith("/api/") or response.status_code not in {404, 405}:
            return response
        if "json" in response.headers.get("Content-Type", ""):
            return response
        if isinstance(response, HttpResponseNotAllowed):
            allowed = response.headers["Allow"]
            return problem(
                request,
                405,
                "method_not_allowed",
                gettext("This address answers {methods}.").format(methods=allowed),
                headers={"Allow": allowed},
            )
        return problem(request, 404, "not_found", gettext("There is no such address in the API; see /api/v1/docs."))
