"""The settings of one directory."""

import re
import string
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from bursar.kernel.i18n import N_
from bursar.plugins.contract import OPERATOR_ONLY, BackendSettings

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
TEMPLATE_FIELDS = frozenset({"username", "uid", "person_id", "email", "full_name"})
# A name of an attribute or object class (RFC 4512, 1.4), no OID.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
# What Bursar itself decides of an entry.
KEPT = frozenset(
    {"objectclass", "uid", "uidnumber", "gidnumber", "description", "loginshell", "homedirectory", "cn", "sn"}
)


class LdapSettings(BackendSettings):
    """How to reach a directory, and where and how people and groups stand in it."""

    uri: Annotated[
        str,
        Field(
            title=N_("Address"),
            description=N_("ldaps://host, or ldap://host, which begins to encrypt before anything is said."),
            max_length=200,
        ),
    ] = "ldaps://ldap.example.org"
    socket: Annotated[
        str,
        Field(
            title=N_("Socket"),
            description=N_("Path of the directory's socket on the machine Bursar runs on, instead of an address."),
            json_schema_extra=dict(OPERATOR_ONLY),
            max_length=200,
        ),
    ] = ""
    encrypt: Annotated[
        bool,
        Field(
            title=N_("Encrypt"),
            description=N_("Begin TLS on ldap://. It can be left out only for a directory on Bursar's own machine."),
        ),
    ] = True
    ca_file: Annotated[
        str,
        Field(
            title=N_("Certificates file"),
            description=N_("Authorities that are trusted, where they are not those of the machine."),
            json_schema_extra=dict(OPERATOR_ONLY),
            max_length=500,
        ),
    ] = ""
    bind_dn: Annotated[
        str, Field(title=N_("Bind DN"), description=N_("Who Bursar is in the directory."), min_length=3, max_length=500)
    ]
    bind_password: Annotated[SecretStr, Field(title=N_("Password"))]
    people_base: Annotated[
        str,
        Field(title=N_("People"), description=N_("An existing entry; people are made below it."), max_length=500),
    ]
    groups_base: Annotated[
        str,
        Field(title=N_("Groups"), description=N_("An existing entry; groups are made below it."), max_length=500),
    ]
    mark: Annotated[
        str,
        Field(
            title=N_("Mark"),
            description=N_(
                "Begins the description of each entry made here, so that nobody else's entry is ever touched. "
                "Two installations on one directory need different ones."
            ),
            pattern=r"^[a-z0-9][a-z0-9-]{0,30}$",
        ),
    ] = "bursar"
    home_directory: Annotated[
        str, Field(title=N_("Home directory"), description=N_("A pattern of {username}, {uid} and {person_id}."))
    ] = "/home/{username}"
    login_shell: Annotated[str, Field(title=N_("Shell"), pattern=r"^/[A-Za-z0-9/_.-]{1,100}$")] = "/bin/bash"
    blocked_shell: Annotated[
        str,
        Field(
            title=N_("Shell of who is blocked"),
            description=N_("A program that lets nobody in."),
            pattern=r"^/[A-Za-z0-9/_.-]{1,100}$",
        ),
    ] = "/sbin/nologin"
    primary_group: Annotated[
        int | None,
        Field(
            title=N_("Number of the primary group"),
            description=N_("The same for all people; empty: each person's own number."),
            ge=1,
            le=2**31 - 1,
        ),
    ] = None
    number_offset: Annotated[
        int,
        Field(
            title=N_("Numbers without a range"),
            description=N_("Who comes without a number gets the one of the person in Bursar plus this."),
            ge=1000,
            le=2**31 - 10**7,
        ),
    ] = 1_000_000
    ssh_key_class: Annotated[
        str,
        Field(
            title=N_("Object class of SSH keys"),
            description=N_("ldapPublicKey, where the directory has it: keys are written as sshPublicKey. Empty: none."),
            max_length=64,
        ),
    ] = ""
    more_classes: Annotated[
        list[str], Field(title=N_("More object classes"), description=N_("Of people, beside those of POSIX."))
    ] = []
    more_attributes: Annotated[
        dict[str, str],
        Field(
            title=N_("More attributes"),
            description=N_("Of people: patterns of {username}, {uid}, {person_id}, {email} and {full_name}."),
        ),
    ] = {}
    timeout_seconds: Annotated[int, Field(title=N_("Timeout, seconds"), ge=1, le=60)] = 10

    @field_validator("socket")
    @classmethod
    def _whole_path(cls, path: str) -> str:
        if path and not re.fullmatch(r"/[A-Za-z0-9/_.-]+", path):
            raise ValueError("must be a whole path")
        return path

    @field_validator("uri")
    @classmethod
    def _address(cls, uri: str) -> str:
        parts = urlsplit(uri)
        if parts.scheme not in {"ldap", "ldaps"} or not parts.hostname:
            raise ValueError("must be ldaps:// or ldap:// and a host")
        if parts.username is not None or parts.query or parts.fragment or parts.path not in {"", "/"}:
            raise ValueError("must be a host and a port and nothing more")
        _ = parts.port  # raises ValueError for a port that is none
        return uri.rstrip("/")

    @field_validator("encrypt")
    @classmethod
    def _in_secret(cls, encrypt: bool, info: ValidationInfo) -> bool:
        parts = urlsplit(info.data.get("uri", ""))
        plain = not encrypt and parts.scheme == "ldap" and not info.data.get("socket")
        if plain and parts.hostname not in LOOPBACK_HOSTS:
            raise ValueError("only a directory on Bursar's own machine may be spoken to without encryption")
        return encrypt

    @field_validator("bind_password")
    @classmethod
    def _not_empty(cls, password: SecretStr) -> SecretStr:
        # A bind with a name and no password is one as nobody (RFC 4513, 5.1.2), which a directory may let pass.
        if not password.get_secret_value():
            raise ValueError("must not be empty: the directory would take Bursar for nobody")
        return password

    @field_validator("bind_dn", "people_base", "groups_base")
    @classmethod
    def _dn(cls, dn: str) -> str:
        # Whether it is one the directory says; here it is only kept from holding what no person can see.
        if not dn.isprintable() or "=" not in dn:
            raise ValueError("must be a DN, such as ou=people,dc=example,dc=org")
        return dn

    @field_validator("home_directory")
    @classmethod
    def _home(cls, pattern: str) -> str:
        _check_pattern(pattern, {"username", "uid", "person_id"})
        if not pattern.startswith("/") or not {"{username}", "{uid}", "{person_id}"} & set(
            re.findall(r"\{\w+\}", pattern)
        ):
            raise ValueError("must be a whole path that names the person")
        return pattern

    @field_validator("ssh_key_class")
    @classmethod
    def _class(cls, name: str) -> str:
        if name and not NAME.fullmatch(name):
            raise ValueError("must be the name of an object class")
        return name

    @field_validator("more_classes")
    @classmethod
    def _classes(cls, names: list[str]) -> list[str]:
        if not all(NAME.fullmatch(name) for name in names) or len(names) > 20:
            raise ValueError("must be names of object classes")
        return names

    @field_validator("more_attributes")
    @classmethod
    def _attributes(cls, patterns: dict[str, str]) -> dict[str, str]:
        for name, pattern in patterns.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"{name[:40]!r} is no name of an attribute")
            if name.lower() in KEPT:
                raise ValueError(f"{name} is set by Bursar itself")
            _check_pattern(pattern, TEMPLATE_FIELDS)
        return patterns


def _check_pattern(pattern: str, known: frozenset[str] | set[str]) -> None:
    try:
        fields = list(string.Formatter().parse(pattern))
    except ValueError:
        raise ValueError("is no pattern: a brace is alone") from None
    for _text, name, form, conversion in fields:
        if name is not None and (name not in known or form or conversion):
            raise ValueError(f"may use only {', '.join(sorted(f'{{{field}}}' for field in known))}")
