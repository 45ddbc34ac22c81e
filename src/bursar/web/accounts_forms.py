"""What is typed about local accounts: a name and a number, why one is blocked, and how they come to be."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from bursar.provisioning.models import AccountPolicy
from bursar.provisioning.services.account_policies import NUMBER_MIN, identity_providers
from bursar.provisioning.usernames import UID_MAX


class AccountForm(forms.Form):
    """A person's name and number at a backend; what is given already is shown and stays."""

    username = forms.CharField(
        label=_("Local user name"),
        max_length=64,
        required=False,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
    )
    uid = forms.IntegerField(label=_("User number"), required=False, min_value=1, max_value=UID_MAX)

    def __init__(self, data: Any = None, *, username: str = "", uid: int | None = None) -> None:
        super().__init__(data, initial={"username": username, "uid": uid})
        kept = _("Once given it stays: files and past usage belong to it.")
        for name, value in (("username", username), ("uid", uid)):
            self.fields[name].disabled = value not in {"", None}
            self.fields[name].help_text = kept
        if not username:
            self.fields["username"].required = True
        if uid is None:
            self.fields["uid"].help_text = _("May stay empty. Once given it stays: files belong to it.")


class BlockForm(forms.Form):
    reason = forms.CharField(
        label=_("Why"), max_length=1000, help_text=_("The person reads this."), widget=forms.TextInput()
    )


class AccountPolicyForm(forms.ModelForm):
    """How accounts come to be at a backend."""

    class Meta:
        model = AccountPolicy
        fields = [
            "arrival",
            "connect_url",
            "naming",
            "identity_provider",
            "claim",
            "uid_first",
            "uid_last",
            "gid_first",
            "gid_last",
        ]
        widgets = {"arrival": forms.RadioSelect, "naming": forms.RadioSelect}

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        known = [("", "–"), *identity_providers().items()]
        self.fields["identity_provider"] = forms.ChoiceField(
            choices=known,
            required=False,
            label=_("Login"),
            help_text=_("Whose word is taken for names; others could say anything of a person."),
        )
        self.fields["connect_url"].widget.attrs["placeholder"] = "https://accounts.example.org/connect"
        for name in ("uid_first", "uid_last", "gid_first", "gid_last"):
            field = self.fields[name]
            field.min_value, field.max_value = NUMBER_MIN, UID_MAX  # type: ignore[attr-defined]
            field.widget.attrs |= {"min": NUMBER_MIN, "max": UID_MAX}

    def _post_clean(self) -> None:
        """The service checks and writes; the form only reads what was typed."""
