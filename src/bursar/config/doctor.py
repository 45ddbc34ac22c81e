"""`bursar doctor`: looks at an installation and says what is wrong with it and what to do about it."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.mail import get_connection
from django.db import DatabaseError, connection
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bursar.config import environment, installation, postgres
from bursar.kernel import clock


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, but not for long or not well
    ERROR = "error"  # does not work


@dataclass(frozen=True)
class Finding:
    subject: str
    verdict: Verdict
    text: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Every check in turn; one that breaks is itself a finding."""
    for check in CHECKS:
        try:
            yield from check()
        except Exception as error:
            yield Finding(check.__name__.strip("_"), Verdict.ERROR, f"{type(error).__name__}: {error}")


def _home() -> Iterator[Finding]:
    home: Path = settings.BURSAR_HOME
    subject = _("home folder")
    if not home.is_dir():
        yield Finding(subject, Verdict.ERROR, _("%(home)s is not there") % {"home": home}, "bursar init")
    elif not os.access(home, os.W_OK):
        yield Finding(
            subject, Verdict.ERROR, _("%(home)s cannot be written to") % {"home": home}, f"chown {os.geteuid()} {home}"
        )
    else:
        yield Finding(subject, Verdict.OK, str(home))


def _database() -> Iterator[Finding]:
    subject = _("database")
    kind = _("named by DATABASE_URL") if environment.read("DATABASE_URL") else _("embedded")
    try:
        postgres.ensure_running()
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version_num')::int, current_setting('server_version')")
            number, version = cursor.fetchone()
    except (DatabaseError, postgres.EmbeddedServerFailed) as error:
        yield Finding(
            subject, Verdict.ERROR, _("cannot be reached (%(kind)s): %(error)s") % {"kind": kind, "error": str(error).strip()},
            _("check DATABASE_URL, and that the server runs and lets this machine in"),
        )  # fmt: skip
        return
    words = {"version": version, "kind": kind, "minimum": postgres.MINIMUM_VERSION}
    if number // 10000 < postgres.MINIMUM_VERSION:
        yield Finding(
            subject, Verdict.ERROR, _("PostgreSQL %(version)s is too old") % words,
            _("use PostgreSQL %(minimum)s or later") % words,
        )  # fmt: skip
    else:
        yield Finding(subject, Verdict.OK, _("PostgreSQL %(version)s, %(kind)s") % words)
    pending = installation.pending_migrations()
    if pending:
        yield Finding(
            _("tables"), Verdict.ERROR,
            ngettext(
                "a step behind this version: %(first)s",
                "%(count)d steps behind this version, from %(first)s on",
                len(pending),
            )
            % {"count": len(pending), "first": pending[0]},
            "bursar upgrade",
        )  # fmt: skip
        return
    yield Finding(_("tables"), Verdict.OK, _("up to date"))
    yield from _clock()
    yield from _worker()


def _clock() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        before = clock.now()
        cursor.execute("SELECT clock_timestamp()")
        there = cursor.fetchone()[0]
        here = before + (clock.now() - before) / 2
    seconds = (there - here).total_seconds()
    if abs(seconds) > 2:
        yield Finding(
            _("clock"), Verdict.ERROR, _("differs from the database's by %(seconds).1f s") % {"seconds": seconds},
            _("run an NTP client on both machines: bills are made from times"),
        )  # fmt: skip
    else:
        yield Finding(
            _("clock"), Verdict.OK, _("agrees with the database's to %(ms)d ms") % {"ms": abs(seconds) * 1000}
        )


def _worker() -> Iterator[Finding]:
    seen = installation.worker_seen_at()
    if seen is None:
        yield Finding(_("worker"), Verdict.WARNING, _("none is running: orders wait"), "bursar worker")
        return
    silence = clock.now() - seen
    if silence > installation.WORKER_SILENCE:
        yield Finding(
            _("worker"), Verdict.WARNING, _("last seen %(seconds)d s ago: orders wait") % {"seconds": silence.total_seconds()},
            "bursar worker",
        )  # fmt: skip
    else:
        yield Finding(_("worker"), Verdict.OK, _("last seen %(seconds)d s ago") % {"seconds": silence.total_seconds()})


def _keys() -> Iterator[Finding]:
    subject = _("keys")
    for key in settings.BURSAR_KEYS:
        try:
            Fernet(key)
        except ValueError:
            yield Finding(
                subject, Verdict.ERROR, _("one of them is not a Fernet key"), _("see docs/operating.md, Keys")
            )
            return
    file: Path = settings.BURSAR_HOME / "keys"
    count = len(settings.BURSAR_KEYS)
    if environment.read("BURSAR_KEYS"):
        yield Finding(subject, Verdict.OK, _("%(count)d, from BURSAR_KEYS") % {"count": count})
    elif file.exists() and file.stat().st_mode & 0o077:
        yield Finding(subject, Verdict.ERROR, _("%(file)s can be read by others") % {"file": file}, f"chmod 600 {file}")
    else:
        yield Finding(subject, Verdict.OK, _("%(count)d, in %(file)s") % {"count": count, "file": file})


def _assets() -> Iterator[Finding]:
    if installation.assets_built():
        yield Finding(_("page assets"), Verdict.OK, _("built"))
    else:
        yield Finding(_("page assets"), Verdict.ERROR, _("not built: pages have no style"), "make assets")


def _mail() -> Iterator[Finding]:
    subject = _("mail")
    name = settings.EMAIL_BACKEND.rsplit(".", 2)[-2]
    if name != "smtp":
        yield Finding(
            subject, Verdict.OK if settings.DEMO else Verdict.WARNING,
            _("is not sent but written (%(name)s)") % {"name": name}, "" if settings.DEMO else "BURSAR_MAIL_URL=smtp://...",
        )  # fmt: skip
        return
    where = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        with get_connection(timeout=5):
            pass
    except (OSError, socket.gaierror) as error:
        yield Finding(
            subject,
            Verdict.ERROR,
            _("%(where)s does not answer: %(error)s") % {"where": where, "error": error},
            "BURSAR_MAIL_URL",
        )
    else:
        yield Finding(subject, Verdict.OK, _("goes to %(where)s") % {"where": where})


def _disk() -> Iterator[Finding]:
    folder: Path = settings.BURSAR_HOME
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    words = {"free": free, "folder": folder}
    if free < 1:
        yield Finding(_("disk"), Verdict.ERROR, _("%(free).1f GiB free at %(folder)s") % words, _("make room"))
    else:
        yield Finding(_("disk"), Verdict.OK, _("%(free).1f GiB free at %(folder)s") % words)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_home, _keys, _database, _assets, _mail, _disk)
