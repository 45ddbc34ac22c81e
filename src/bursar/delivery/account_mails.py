"""The mails about a person's account at a provider: it was blocked, let in again, or ended there."""

from datetime import datetime
from typing import Any

from bursar.delivery.mails import Facts, address, mail
from bursar.provisioning.lifecycle import AccountState
from bursar.provisioning.models import LocalAccount
from bursar.structure.models import Person


def _account(facts: Facts, state: AccountState) -> dict[str, Any] | None:
    """None when it is no longer as the mail would say."""
    rows = LocalAccount.objects.select_related("backend__provider__organization")
    account = rows.filter(pk=facts["account"], state=state).first()
    return None if account is None else {"account": account, "link": address("my_accounts")}


@mail("account_blocked")
def _blocked(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    return _account(facts, AccountState.BLOCKED)


@mail("account_unblocked")
def _unblocked(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    return _account(facts, AccountState.ACTIVE)


@mail("account_ended")
def _ended(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    return _account(facts, AccountState.ENDED)
