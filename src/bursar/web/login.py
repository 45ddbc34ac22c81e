"""What a login sets in motion above structure, whatever the way in: password, identity provider, passkey, sign-up.

`config.login` names this adapter to the login library.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse

from bursar.grants.services import ask_for_gifts_at_login
from bursar.kernel import clock
from bursar.structure.login import AccountAdapter
from bursar.structure.models import Person


class LoginAdapter(AccountAdapter):
    def post_login(self, request: HttpRequest, user: Person, **more: Any) -> HttpResponse:
        answer = super().post_login(request, user, **more)
        ask_for_gifts_at_login(user, clock.now())
        return answer
