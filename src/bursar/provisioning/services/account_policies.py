"""How accounts come to be at a backend: who asks for them, what they are called, which numbers they get."""

import re
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, Model, OuterRef
from django.utils.translation import gettext as _

from bursar.catalogue.models import Backend
from bursar.events.services import Happening, record
from bursar.provisioning import usernames
from bursar.provisioning.errors import (
    AccountPolicyInvalid,
    AddressInvalid,
    ClaimMissing,
    ClaimTaken,
    ClaimUnusable,
    NumbersUsedUp,
)
from bursar.provisioning.models import AccountPolicy, LocalAccount, ProjectGroup
from bursar.structure.models import Person, Project
from bursar.structure.roles import Permission, require
from bursar.structure.selectors import login_claim

LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "::1")
# Below it are the users that systems make for themselves.
NUMBER_MIN: Final = 1000
_CLAIM: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,60}")


def policy_of(backend: Backend) -> AccountPolicy:
    """What holds at the backend; the defaults, unsaved, where nobody has said anything."""
    found = AccountPolicy.objects.filter(backend=backend).first()
    return found or AccountPolicy(backend=backend)


def _locked(backend: Backend) -> AccountPolicy:
    """The policy with its counters, locked: names and numbers of a backend are given one after the other."""
    AccountPolicy.objects.get_or_create(backend=backend)
    return AccountPolicy.objects.select_for_update(of=("self",)).select_related("backend").get(backend=backend)


def identity_providers() -> dict[str, str]:
    """Short name -> name of the logins of this installation, whose word a name may come from."""
    apps = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
    return {str(app["provider_id"]): str(app["name"]) for app in apps}


@transaction.atomic
def set_account_policy(*, backend: Backend, by: Person | None, at: datetime, **wanted: Any) -> AccountPolicy:
    """Say how accounts come to be from now on; names and numbers that are given stay as they are.

    wanted   any of arrival, naming, identity_provider, claim, connect_url, uid_first, uid_last, gid_first, gid_last
    raises   NotAllowed; AddressInvalid; AccountPolicyInvalid
    """
    require(by, Permission.MANAGE_BACKENDS, backend.provider.organization, at)
    policy = _locked(backend)
    before = {name: getattr(policy, name) for name in wanted}
    for name, value in wanted.items():
        setattr(policy, name, value.strip() if isinstance(value, str) else value)
    _check(policy)
    changed = sorted(name for name, value in before.items() if getattr(policy, name) != value)
    for kind in ("uid", "gid"):
        if f"{kind}_first" in changed:  # a range that begins elsewhere is searched from its beginning
            setattr(policy, f"{kind}_next", getattr(policy, f"{kind}_first"))
    if changed:
        policy.save()
        facts = {"fields": changed, **{name: getattr(policy, name) for name in changed}}
        organization_id = backend.provider.organization_id
        happening = Happening("backend.accounts_edited", "backend", backend.pk, facts, provider_id=organization_id)
        record(happening, by_id=None if by is None else by.pk, at=at)
    return policy


def _check(policy: AccountPolicy) -> None:
    for name, choices in (("arrival", AccountPolicy.Arrival), ("naming", AccountPolicy.Naming)):
        if getattr(policy, name) not in choices.values:
            raise AccountPolicyInvalid(problem=_("Choose one of those shown."), field=name)
    if policy.connect_url or policy.arrival == AccountPolicy.Arrival.REDIRECT:
        _check_address(policy.connect_url)
    if policy.naming == AccountPolicy.Naming.CLAIM:
        if policy.identity_provider not in identity_providers():
            problem = _("Choose the login whose word is taken: others could say anything of a person.")
            raise AccountPolicyInvalid(problem=problem, field="identity_provider")
        if not _CLAIM.fullmatch(policy.claim):
            raise AccountPolicyInvalid(problem=_("Name the claim, such as preferred_username."), field="claim")
    else:
        policy.identity_provider, policy.claim = "", ""
    for first, last in (("uid_first", "uid_last"), ("gid_first", "gid_last")):
        if not NUMBER_MIN <= getattr(policy, first) <= usernames.UID_MAX:
            problem = _("The first number has to be from %(low)s to %(high)s.")
            told = problem % {"low": NUMBER_MIN, "high": usernames.UID_MAX}
            raise AccountPolicyInvalid(problem=told, field=first)
        if not getattr(policy, first) <= getattr(policy, last) <= usernames.UID_MAX:
            problem = _("The last number has to be from the first to %(high)s.")
            raise AccountPolicyInvalid(problem=problem % {"high": usernames.UID_MAX}, field=last)


def _check_address(address: str) -> None:
    """raises   AddressInvalid"""
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname, parts.port  # the port raises where it is none
    except ValueError:
        raise AddressInvalid from None
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK_HOSTS)
    has_odd_letters = not address.isascii() or not address.isprintable() or any(c in address for c in " \"'<>\\^`{|}")
    if not is_safe or not host or parts.username is not None or parts.fragment or has_odd_letters:
        raise AddressInvalid
    if len(address) > 500:
        raise AddressInvalid


# ------------------------------------------------------------------------------------------------ names and numbers
def give_name(account: LocalAccount, *, with_uid: bool) -> None:
    """Put the name and number on the account that the policy of its backend gives, where it has none yet.

    The caller saves it, in the same transaction.
    with_uid   whether a number is given even where the provider's side gives the name
    raises     ClaimMissing; ClaimUnusable; ClaimTaken; NumbersUsedUp
    """
    if account.username and (account.uid is not None or not with_uid):
        return
    policy = _locked(account.backend)
    naming = policy.naming
    if not account.username and naming != AccountPolicy.Naming.GIVEN:
        if naming == AccountPolicy.Naming.INITIAL_LAST:
            base = usernames.initial_last(account.person.full_name)
            account.username = usernames.numbered(base, taken=_names_like(account.backend, base))
        elif naming == AccountPolicy.Naming.ANONYMOUS:
            account.username = _anonymous(policy)
        else:
            account.username = _claimed(policy, account)
    if account.uid is None and (with_uid or naming != AccountPolicy.Naming.GIVEN):
        account.uid = _number(policy, "uid", LocalAccount)
    policy.save(update_fields=["uid_next", "number_next"])


def _names_like(backend: Backend, base: str) -> set[str]:
    alike = LocalAccount.objects.filter(backend=backend, username__startswith=base[:12])
    return set(alike.values_list("username", flat=True))


def _anonymous(policy: AccountPolicy) -> str:
    taken = set(
        LocalAccount.objects.filter(backend=policy.backend, username__regex=r"^u[0-9]+$").values_list(
            "username", flat=True
        )
    )
    while True:
        name = usernames.anonymous(policy.number_next)
        policy.number_next += 1
        if name not in taken:
            return name


def _claimed(policy: AccountPolicy, account: LocalAccount) -> str:
    backend = policy.backend.name
    login = identity_providers().get(policy.identity_provider, policy.identity_provider)
    value = login_claim(account.person, policy.identity_provider, policy.claim)
    if value in (None, ""):
        raise ClaimMissing(backend=backend, login=login, claim=policy.claim)
    if not isinstance(value, str) or not usernames.USERNAME.fullmatch(value) or value in usernames.RESERVED:
        raise ClaimUnusable(backend=backend, login=login, value=str(value)[:40])
    if LocalAccount.objects.filter(backend=policy.backend, username=value).exists():
        raise ClaimTaken(backend=backend, username=value)
    return value


def _number(policy: AccountPolicy, kind: str, model: type[Model]) -> int:
    """The next number of a range that nobody has or had; rows are never deleted, so what is free was never given.

    raises   NumbersUsedUp
    """
    first, last, number = (getattr(policy, f"{kind}_{what}") for what in ("first", "last", "next"))
    given = model._default_manager.filter(backend=policy.backend)
    if given.filter(**{kind: number}).exists():  # told by the provider's side; the next gap is looked for at once
        beside = given.filter(**{kind: OuterRef("following")})
        gap = given.filter(**{f"{kind}__gte": number}).annotate(following=F(kind) + 1).exclude(Exists(beside))
        number = gap.order_by(kind).values_list("following", flat=True)[0]
    if not first <= number <= last:
        raise NumbersUsedUp(backend=policy.backend.name, first=first, last=last)
    setattr(policy, f"{kind}_next", number + 1)
    return int(number)


def group_at(backend: Backend, project: Project, *, at: datetime) -> ProjectGroup:
    """The project's group at the backend, with a name and a number that it keeps; made when it is first asked for.

    raises   NumbersUsedUp
    """
    found = ProjectGroup.objects.filter(backend=backend, project=project).first()
    if found is not None:
        return found
    with transaction.atomic():
        policy = _locked(backend)
        found = ProjectGroup.objects.filter(backend=backend, project=project).first()
        if found is None:
            base = usernames.group_base(project.slug)
            alike = ProjectGroup.objects.filter(backend=backend, name__startswith=base[:12])
            name = usernames.numbered(base, taken=set(alike.values_list("name", flat=True)))
            gid = _number(policy, "gid", ProjectGroup)
            policy.save(update_fields=["gid_next"])
            found = ProjectGroup.objects.create(backend=backend, project=project, name=name, gid=gid, made_at=at)
    return found
