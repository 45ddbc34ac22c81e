"""Where the login library asks us: who may register, what a new person gets, what is kept how, how its mail leaves.

These are adapters that the library calls (`config.login` names them), not signals.
"""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django import forms
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from bursar.kernel import clock
from bursar.kernel.errors import DomainError
from bursar.structure.mail import ask_for_mail, seal, unseal
from bursar.structure.models import Person
from bursar.structure.services._common import tell
from bursar.structure.services.people import settle_in
from bursar.structure.text import clean_line

# Under this key a session keeps the token of the invitation whose page was looked at before registering.
INVITATION_IN_SESSION = "invitation"


class SignupForm(forms.Form):
    """What we ask of a new person beside the library's own fields."""

    full_name = forms.CharField(
        label=_("Full name"), max_length=200, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    field_order = ["full_name", "email", "password1"]

    def clean_full_name(self) -> str:
        try:
            return clean_line(self.cleaned_data["full_name"], field="full_name", limit=200)
        except DomainError as refusal:
            raise forms.ValidationError(str(refusal), code=refusal.code) from refusal

    def signup(self, request: HttpRequest, user: Person) -> None:
        """Called by the library after saving; the adapter has done everything."""


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        if settings.BURSAR_SIGNUP == "invited":
            return bool(request.session.get(INVITATION_IN_SESSION))
        return settings.BURSAR_SIGNUP == "open"

    def new_user(self, request: HttpRequest) -> Person:
        # The library keeps somebody who is half registered in the session, and cannot write down "the database's default".
        return Person(created_at=clock.now())

    def save_user(self, request: HttpRequest, user: Person, form: Any, commit: bool = True) -> Person:
        user.full_name = form.cleaned_data.get("full_name") or user.full_name
        user.language = _language()
        super().save_user(request, user, form, commit=commit)
        if commit:
            settle_in(person=user, by=None, at=clock.now())
        return user

    def post_login(self, request: HttpRequest, user: Person, **more: Any) -> HttpResponse:
        tell("person.logged_in", user, by=user, at=clock.now())
        return super().post_login(request, user, **more)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Queue the mail with its words sealed: they hold links that log in."""
        message = self.render_mail(template_prefix, email, {"email": email, "base_url": settings.BASE_URL, **context})
        html = [body for body, kind in message.alternatives] if isinstance(message, EmailMultiAlternatives) else []
        facts = {"subject": message.subject, "sealed_text": seal(str(message.body))}
        if html:
            facts["sealed_html"] = seal(str(html[0]))
        ask_for_mail("login", to_email=email, facts=facts)


class SocialAdapter(DefaultSocialAccountAdapter):
    def populate_user(self, request: HttpRequest, sociallogin: Any, data: dict[str, Any]) -> Person:
        user: Person = super().populate_user(request, sociallogin, data)
        parts = [data.get("first_name") or "", data.get("last_name") or ""]
        name = data.get("name") or " ".join(part for part in parts if part) or data.get("email") or ""
        try:
            user.full_name = clean_line(str(name), field="full_name", limit=200)
        except DomainError:
            user.full_name = ""  # it is asked for then
        return user

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: Any) -> bool:
        return bool(sociallogin.user.full_name) and super().is_auto_signup_allowed(request, sociallogin)

    def get_signup_form_initial_data(self, sociallogin: Any) -> dict[str, Any]:
        return {**super().get_signup_form_initial_data(sociallogin), "full_name": sociallogin.user.full_name}

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> Person:
        sociallogin.user.language = _language()
        person: Person = super().save_user(request, sociallogin, form)
        settle_in(person=person, by=None, at=clock.now())
        return person

    def can_authenticate_by_email(self, login: Any, email: str) -> bool:
        """Whether a verified address from this provider logs in the person who already has it (docs/adr)."""
        trusted = login.provider.app.settings.get("trusted_mail", False) if login.provider.app else False
        if isinstance(trusted, bool):
            return trusted
        return email.rpartition("@")[2].lower() in trusted


class MfaAdapter(DefaultMFAAdapter):
    """TOTP secrets and recovery codes lie encrypted at rest with the installation's keys."""

    def encrypt(self, text: str) -> str:
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text)


def _language() -> str:
    codes = [code for code, _name in settings.LANGUAGES]
    wanted = translation.get_language() or settings.LANGUAGE_CODE
    return wanted if wanted in codes else wanted.split("-")[0] if wanted.split("-")[0] in codes else codes[0]
