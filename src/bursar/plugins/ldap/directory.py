"""A directory asked over LDAP, by the library ldap3: each question opens a connection of its own and closes it.

No filter and no DN is made of a text that was not escaped. Only what bears our mark is ever changed.
"""

import ssl
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from bursar.plugins.contract import BackendUnreachable
from bursar.plugins.ldap.mapping import Values
from bursar.plugins.ldap.settings import LOOPBACK_HOSTS, LdapSettings

with warnings.catch_warnings():
    # It asks its parser by names that the parser calls old; both go on having them.
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3
    from ldap3.core import exceptions as faults
    from ldap3.utils.conv import escape_filter_chars
    from ldap3.utils.dn import escape_rdn


class DirectoryRefuses(Exception):
    """The directory said no to one change; the message is its own word for it."""


@dataclass(frozen=True, slots=True)
class Entry:
    dn: str
    values: Mapping[str, list[str]]

    def first(self, name: str) -> str:
        return next(iter(self.values.get(name, [])), "")


def child(base: str, attribute: str, value: str) -> str:
    """The DN of an entry below a base."""
    return f"{attribute}={escape_rdn(value)},{base}"


def equals(attribute: str, value: str | int) -> str:
    """A filter that an attribute has this very value."""
    return f"({attribute}={escape_filter_chars(str(value))})"


class _Tls(ldap3.Tls):  # type: ignore[misc]
    """TLS as Python itself does it: certificate and host are checked in the handshake, old protocols are not spoken.

    The library's own way asks for functions of `ssl` that Python 3.12 no longer has, and knows no addresses of hosts then.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self.context = context

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        connection.socket = self.context.wrap_socket(
            connection.socket, server_hostname=connection.server.host, do_handshake_on_connect=do_handshake
        )


class Directory:
    def __init__(self, settings: LdapSettings) -> None:
        self.settings = settings

    @property
    def place(self) -> str:
        return self.settings.socket or self.settings.uri

    @contextmanager
    def open(self, *, schema: bool = False) -> Iterator["Session"]:
        """A connection that is bound as ours.

        raises   BackendUnreachable: it does not answer, is not trusted, or does not let us in
        """
        connection = None
        try:
            connection = self._connection(schema)
            self._bind(connection, schema)
            yield Session(connection, self.settings)
        except faults.LDAPInvalidCredentialsResult:
            raise BackendUnreachable(f"The directory at {self.place} does not take the bind DN and password.") from None
        except (faults.LDAPExceptionError, OSError) as error:
            if isinstance(error, faults.LDAPOperationResult):
                raise DirectoryRefuses(str(error.description or error.result)) from None
            # Its own messages may quote what was sent.
            raise BackendUnreachable(
                f"The directory at {self.place} does not answer ({type(error).__name__})."
            ) from None
        finally:
            if connection is not None:
                self._close(connection)

    def _close(self, connection: Any) -> None:
        held = connection.socket
        with suppress(faults.LDAPExceptionError, OSError):
            connection.unbind()
        if held is not None:  # the library leaves it open when it got no further
            held.close()

    def _connection(self, schema: bool) -> Any:
        settings = self.settings
        tls = _Tls(ssl.create_default_context(cafile=settings.ca_file or None))
        address = f"ldapi://{quote(settings.socket, safe='')}" if settings.socket else settings.uri
        server = ldap3.Server(
            address,
            tls=tls,
            connect_timeout=settings.timeout_seconds,
            get_info=ldap3.ALL if schema else ldap3.NONE,
        )
        return ldap3.Connection(
            server,
            user=settings.bind_dn,
            password=settings.bind_password.get_secret_value(),
            receive_timeout=settings.timeout_seconds,
            raise_exceptions=True,
            auto_referrals=False,  # a referral would send our password to wherever the directory says
            check_names=False,
        )

    def _bind(self, connection: Any, schema: bool) -> None:
        """Encrypt before anything is said, then say who we are."""
        parts = urlsplit(self.settings.uri)
        begins_plain = not self.settings.socket and parts.scheme == "ldap"
        connection.open(read_server_info=False)
        if begins_plain and self.settings.encrypt:
            connection.start_tls(read_server_info=False)
        elif begins_plain and parts.hostname not in LOOPBACK_HOSTS:  # the settings refuse it; this is said twice
            raise BackendUnreachable("The directory is not spoken to without encryption.")
        connection.bind(read_server_info=schema)


class Session:
    """What can be asked of a directory while a connection is open."""

    def __init__(self, connection: Any, settings: LdapSettings) -> None:
        self.connection = connection
        self.settings = settings

    @property
    def server(self) -> Any:
        return self.connection.server

    def find(self, base: str, filters: Sequence[str]) -> list[Entry]:
        """The entries below a base that fit all filters, by DN."""
        try:
            self.connection.search(
                base, f"(&{''.join(filters)})", search_scope=ldap3.SUBTREE, attributes=[ldap3.ALL_ATTRIBUTES]
            )
        except faults.LDAPNoSuchObjectResult:
            raise DirectoryRefuses(f"there is no entry {base}") from None
        found = [
            Entry(
                row["dn"],
                {
                    name: [value.decode("utf-8", "replace") for value in values]
                    for name, values in row["raw_attributes"].items()
                },
            )
            for row in self.connection.response
            if row["type"] == "searchResEntry"
        ]
        return sorted(found, key=lambda entry: entry.dn)

    def marked(self, base: str, mark: str) -> Entry | None:
        """The entry below the base that bears this mark of ours."""
        return next(iter(self.find(base, [equals("description", mark)])), None)

    def exists(self, dn: str) -> bool:
        try:
            self.connection.search(dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=[ldap3.NO_ATTRIBUTES])
        except faults.LDAPNoSuchObjectResult:
            return False
        return bool(self.connection.response)

    def add(self, dn: str, classes: Sequence[str], values: Values) -> None:
        self.connection.add(dn, list(classes), {name: given for name, given in values.items() if given})

    def change(self, entry: Entry, values: Values) -> bool:
        """Have the entry hold exactly these values of these attributes. Answers whether anything differed."""
        held = {name.lower(): sorted(given) for name, given in entry.values.items()}
        differ = {name: given for name, given in values.items() if held.get(name.lower(), []) != sorted(given)}
        if differ:
            self.connection.modify(entry.dn, {name: [(ldap3.MODIFY_REPLACE, given)] for name, given in differ.items()})
        return bool(differ)

    def remove(self, dn: str) -> None:
        with suppress(faults.LDAPNoSuchObjectResult):
            self.connection.delete(dn)
