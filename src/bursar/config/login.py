"""How people log in: the settings of django-allauth, and the identity providers of an installation."""

import json
from typing import Any
from urllib.parse import urlsplit

from bursar.config import environment as env

# What one identity provider may say; anything else is a spelling mistake that would go unnoticed.
_KNOWN = {"id", "name", "server", "client_id", "client_secret", "trusted_mail", "mail_verified", "uid", "auth_method"}
_NEEDED = ("id", "server", "client_id")


def identity_providers(stated: Any) -> list[dict[str, Any]]:
    """The identity providers as allauth's apps.

    stated   a JSON list (BURSAR_OIDC) or the tables [[oidc]] of the configuration file:
             id, server (the issuer's address or its discovery document), client_id, client_secret, name;
             trusted_mail: true, or a list of mail domains, for which a verified address logs in the person who has it;
             mail_verified: true where the provider vouches for addresses without saying `email_verified`;
             uid: the claim that tells people apart, "sub" unless stated; auth_method: of the token endpoint
    raises   ValueError that says which entry is wrong
    """
    entries = json.loads(stated) if isinstance(stated, str) else stated
    apps = []
    for number, entry in enumerate(entries or [], start=1):
        missing = [key for key in _NEEDED if not entry.get(key)]
        unknown = sorted(set(entry) - _KNOWN)
        if missing or unknown:
            raise ValueError(
                f"identity provider {number}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}"
            )
        server = urlsplit(str(entry["server"]))
        if server.scheme != "https" and server.hostname not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError(f"identity provider {number}: {entry['server']} must begin with https://")
        trusted = entry.get("trusted_mail", False)
        apps.append(
            {
                "provider_id": str(entry["id"]),
                "name": str(entry.get("name") or entry["id"]),
                "client_id": str(entry["client_id"]),
                "secret": str(entry.get("client_secret", "")),
                "settings": {
                    "server_url": str(entry["server"]).rstrip("/"),
                    "uid_field": str(entry.get("uid", "sub")),
                    "trusted_mail": trusted if isinstance(trusted, bool) else [str(d).lower() for d in trusted],
                    "verified_email": bool(entry.get("mail_verified", False)),
                    **({"token_auth_method": str(entry["auth_method"])} if entry.get("auth_method") else {}),
                },
            }
        )
    return apps


def settings(*, base_url: str, testing: bool = False) -> dict[str, Any]:
    """Django's and allauth's settings of the login."""
    return {
        "ACCOUNT_ADAPTER": "bursar.web.login.LoginAdapter",
        "SOCIALACCOUNT_ADAPTER": "bursar.structure.login.SocialAdapter",
        "MFA_ADAPTER": "bursar.structure.login.MfaAdapter",
        "ACCOUNT_SIGNUP_FORM_CLASS": "bursar.structure.login.SignupForm",
        "ACCOUNT_USER_MODEL_USERNAME_FIELD": None,
        "ACCOUNT_LOGIN_METHODS": {"email"},
        "ACCOUNT_SIGNUP_FIELDS": ["email*", "password1*"],
        "ACCOUNT_EMAIL_VERIFICATION": "mandatory",
        "ACCOUNT_UNIQUE_EMAIL": True,
        "ACCOUNT_MAX_EMAIL_ADDRESSES": 5,
        "ACCOUNT_EMAIL_SUBJECT_PREFIX": "",
        "ACCOUNT_EMAIL_NOTIFICATIONS": True,
        "ACCOUNT_REAUTHENTICATION_REQUIRED": True,
        "ACCOUNT_SESSION_REMEMBER": None,
        "ACCOUNT_LOGOUT_REDIRECT_URL": "/account/login/",
        "ACCOUNT_DEFAULT_HTTP_PROTOCOL": urlsplit(base_url).scheme,
        # Signing up tells nobody whether an address is known; the mail does.
        "ACCOUNT_PREVENT_ENUMERATION": True,
        "ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS": False,
        "MFA_SUPPORTED_TYPES": ["totp", "webauthn", "recovery_codes"],
        "MFA_PASSKEY_LOGIN_ENABLED": True,
        "MFA_PASSKEY_SIGNUP_ENABLED": False,
        "MFA_TOTP_ISSUER": "Bursar",
        "MFA_TOTP_TOLERANCE": 1,
        "MFA_RECOVERY_CODES_SHOW_ONCE": False,
        # Browsers let passkeys work on http://localhost alone; everywhere else they need TLS.
        "MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN": testing or urlsplit(base_url).hostname == "localhost",
        "SOCIALACCOUNT_PROVIDERS": {
            "openid_connect": {
                "APPS": identity_providers(env.read("BURSAR_OIDC") or env.table("oidc")),
                "OAUTH_PKCE_ENABLED": True,
            }
        },
        "SOCIALACCOUNT_LOGIN_ON_GET": False,
        "SOCIALACCOUNT_STORE_TOKENS": False,
        "SOCIALACCOUNT_QUERY_EMAIL": True,
        "SOCIALACCOUNT_EMAIL_AUTHENTICATION": False,
        "SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT": True,
    }


def signup() -> str:
    """Who may register: "open" (anybody), "invited" (who comes from an invitation's link), "closed" (nobody).

    raises   ValueError for anything else
    """
    value = env.read("BURSAR_SIGNUP", "open")
    if value not in {"open", "invited", "closed"}:
        raise ValueError("BURSAR_SIGNUP must be open, invited or closed")
    return value
