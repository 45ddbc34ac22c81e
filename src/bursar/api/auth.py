"""Who asks: a bearer token, or the session of a person on our own pages."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.core.cache import cache
from django.http import HttpRequest
from ninja.errors import AuthenticationError
from ninja.security import APIKeyCookie, HttpBearer

from bursar.api.problems import TooManyAttempts
from bursar.kernel import clock
from bursar.kernel.errors import DomainError

if TYPE_CHECKING:
    from bursar.structure.models import ApiToken, Person

WRONG_TOKENS_MAX: Final = 20
WRONG_TOKENS_WINDOW_SECONDS: Final = 600


def address_of(request: HttpRequest) -> str:
    """The address a request came from, as the server in front of us tells it (uvicorn reads the proxy's headers)."""
    return str(request.META.get("REMOTE_ADDR", ""))


def _attempts_key(request: HttpRequest) -> str:
    return f"api-wrong-tokens:{address_of(request)}"


# When an address was last seen to have sent no wrong token, by this process: a right token then costs no question.
_GOOD: Final[dict[str, datetime]] = {}
_GOOD_FOR: Final = timedelta(seconds=5)
_GOOD_MAX: Final = 10_000


def _too_many_wrong(request: HttpRequest, key: str) -> bool:
    at = at_of(request)
    since = _GOOD.get(key)
    if since is not None and timedelta(0) <= at - since < _GOOD_FOR:
        return False
    wrong = cache.get(key) or 0
    if wrong:
        _GOOD.pop(key, None)
    else:
        if len(_GOOD) >= _GOOD_MAX:
            _GOOD.clear()
        _GOOD[key] = at
    return wrong >= WRONG_TOKENS_MAX


class BearerToken(HttpBearer):
    """`Authorization: Bearer <token>`. The person it gives carries the token's limits, which the role table honours."""

    openapi_bearerFormat = "opaque"  # noqa: N815 - the name OpenAPI gives it

    def authenticate(self, request: HttpRequest, token: str) -> "Person | None":
        from bursar.structure.services.tokens import authenticate_token

        key = _attempts_key(request)
        if _too_many_wrong(request, key):
            raise TooManyAttempts(WRONG_TOKENS_WINDOW_SECONDS)
        try:
            found = authenticate_token(token=token, at=at_of(request), address=address_of(request))
        except DomainError as refusal:
            _GOOD.pop(key, None)
            cache.add(key, 0, WRONG_TOKENS_WINDOW_SECONDS)
            cache.incr(key)
            raise AuthenticationError from refusal
        request.user = found.person
        request.api_token = found  # type: ignore[attr-defined]
        return found.person


class PageSession(APIKeyCookie):
    """The session of somebody who is logged in here; writing needs the CSRF token."""

    param_name = "sessionid"

    def __call__(self, request: HttpRequest) -> Any:
        # Somebody without a session is a stranger (401), not a forged request (403).
        return super().__call__(request) if self.param_name in request.COOKIES else None

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        return request.user if request.user.is_authenticated else None


AUTH: Final = (BearerToken(), PageSession())


def token_of(request: HttpRequest) -> "ApiToken | None":
    """The token that the request came with; None: it came with a session."""
    return getattr(request, "api_token", None)


def at_of(request: HttpRequest) -> datetime:
    """The instant of the request: read from the clock once."""
    stated: datetime | None = getattr(request, "at", None)
    return stated or clock.now()


def person_of(request: HttpRequest) -> "Person":
    """Who asks; only in operations that need a login (all that do not say `auth=None`)."""
    return request.auth  # type: ignore[attr-defined,no-any-return]
