"""The steps of `bursar init` and `bursar upgrade`."""

import os
from collections.abc import Callable
from pathlib import Path

CONFIGURATION = """\
# Bursar's settings. Each may also be an environment variable, which then wins: BASE_URL here is BURSAR_BASE_URL there.
# All of them are explained in docs/operating.md.

{base_url}
# database_url = "postgresql://bursar@/bursar"      # without it, a PostgreSQL of Bursar's own runs in this folder
# mail_url = "smtp+starttls://user:password@mail.example.org:587"
# mail_from = "Bursar <bursar@example.org>"
# allowed_hosts = "bursar.example.org"
# behind_proxy = true
"""


def make_home(folder: Path, *, base_url: str = "") -> None:
    """Have the installation's folder and its configuration file; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "bursar.toml"
    if not file.exists():
        line = f'base_url = "{base_url}"' if base_url else '# base_url = "https://bursar.example.org"'
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it may come to hold passwords
        with os.fdopen(handle, "w") as opened:
            opened.write(CONFIGURATION.format(base_url=line))


def upgrade(*, say: Callable[[str], None]) -> None:
    from bursar.config import installation

    pending = installation.pending_migrations()
    installation.upgrade_database()
    say(f"Tables: {len(pending)} steps done." if pending else "Tables: up to date.")
    if installation.assets_built():
        say("Page assets: published." if installation.publish_assets() else "Page assets: up to date.")
    else:
        say("Page assets: not built; `make assets` builds them in a source tree.")


def has_operator() -> bool:
    from bursar.structure.models import Membership
    from bursar.structure.roles import Role

    return Membership.objects.filter(role=Role.PLATFORM_OPERATOR, ended_at=None).exists()


def make_operator(*, email: str, full_name: str, password: str) -> list[str]:
    """Let somebody do everything on the platform; their mail address counts as verified.

    returns  what is wrong with the password or the rest, in words; empty when it was done
    """
    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError
    from django.db import transaction

    from bursar.kernel import clock
    from bursar.kernel.errors import DomainError
    from bursar.structure.models import Person
    from bursar.structure.roles import Role
    from bursar.structure.services.memberships import give_membership
    from bursar.structure.services.people import register_person

    at = clock.now()
    try:
        validate_password(password, Person(email=email, full_name=full_name))
        with transaction.atomic():
            person = register_person(email=email, full_name=full_name, password=password, verified=True, by=None, at=at)
            give_membership(person=person, role=Role.PLATFORM_OPERATOR, scope=None, by=None, at=at)
    except ValidationError as error:
        return [str(message) for message in error.messages]
    except DomainError as error:
        return [str(error)]
    return []
