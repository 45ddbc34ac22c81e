"""Local accounts: a person's own at providers, those a provider looks after, and how they come to be at a backend."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Schema, Status
from pydantic import Field

from bursar.api.auth import at_of, person_of
from bursar.api.paging import Page, Paging, page_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.catalogue.models import Backend
from bursar.catalogue.selectors import backend_of_provider
from bursar.provisioning import selectors, services
from bursar.provisioning.models import AccountPolicy
from bursar.provisioning.selectors import AccountRow, MyAccount
from bursar.provisioning.services.account_policies import policy_of
from bursar.structure.models import Person

router = Router()

Number = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class State(StrEnum):
    """Of an account, as `provisioning.lifecycle` has it; none = there is none."""

    NONE = "none"
    WANTED = "wanted"
    ACTIVE = "active"
    BLOCKED = "blocked"
    ENDED = "ended"


# ------------------------------------------------------------------------------------------------ shapes
class MyAccountOut(Schema):
    backend_id: int
    backend: str
    provider_id: int
    provider: str
    arrival: AccountPolicy.Arrival = Field(description="how accounts come to be there")
    state: State
    since: datetime | None = Field(description="when it came to be in this state")
    username: str = Field(description="empty = none given yet; kept for ever once given")
    uid: int | None = Field(description="the user number; kept for ever once given")
    reason: str = Field(description="why the provider blocked or ended it")
    message: str = Field(description="what stands in the way of it")
    address: str = Field(description="where the provider wants to see people first; empty = nowhere")
    may_connect: bool
    may_disconnect: bool


class ConnectionOut(MyAccountOut):
    go_to: str = Field(description="the provider's page with a token that holds for five minutes; empty = stay")


class AccountOut(Schema):
    backend_id: int
    person_id: int
    full_name: str
    email: str
    state: State
    since: datetime | None = Field(description="when it came to be in this state")
    username: str = Field(description="empty = none yet; kept for ever once given")
    uid: int | None = Field(description="the user number; kept for ever once given")
    reason: str = Field(description="why it is blocked or ended")
    message: str = Field(description="what stands in the way of it")


class AccountIn(Strict):
    username: str = Field("", max_length=64, description="empty confirms the name it has already")
    uid: Number | None = Field(None, description="the user number; empty = none is told")


class AccountReasonIn(Strict):
    reason: str = Field(max_length=1000, description="the person reads it")


class AccountPolicyOut(Schema):
    backend_id: int
    arrival: AccountPolicy.Arrival
    naming: AccountPolicy.Naming
    identity_provider: str
    claim: str
    connect_url: str
    uid_first: int
    uid_last: int
    gid_first: int
    gid_last: int


class AccountPolicyEdit(Strict):
    """Only what is named changes; names and numbers that are given stay as they are."""

    arrival: AccountPolicy.Arrival | None = None
    naming: AccountPolicy.Naming | None = None
    identity_provider: str | None = Field(None, max_length=100, description="the login whose claim is taken")
    claim: str | None = Field(None, max_length=60)
    connect_url: str | None = Field(None, max_length=500, description="https, or http on localhost")
    uid_first: Number | None = None
    uid_last: Number | None = None
    gid_first: Number | None = None
    gid_last: Number | None = None


def _key(number: int) -> int:
    """A number that the database can hold; others are nobody's."""
    return number if 0 < number < 2**63 else 0


# ------------------------------------------------------------------------------------------------ one's own
def _mine(row: MyAccount) -> dict[str, Any]:
    account, organization = row.account, row.backend.provider.organization
    return {
        "backend_id": row.backend.pk,
        "backend": row.backend.name,
        "provider_id": organization.pk,
        "provider": organization.name,
        "arrival": row.policy.arrival,
        "state": row.state,
        "since": account and account.state_at,
        "username": account.username if account else "",
        "uid": account and account.uid,
        "reason": account.reason if account else "",
        "message": account.message if account else "",
        "address": row.address,
        "may_connect": row.may_connect,
        "may_disconnect": row.may_disconnect,
    }


@router.get(
    "/me/accounts",
    response={200: Page[MyAccountOut], **PROBLEMS},
    tags=["Local accounts"],
    summary="Where you have an account, or may have one",
)
def list_my_accounts(request: HttpRequest, paging: Paging) -> Any:
    rows = selectors.my_accounts(person_of(request), at=at_of(request))
    return page_of(request, [_mine(row) for row in rows], paging)


@router.post(
    "/me/accounts/{backend_id}/connect",
    response={200: ConnectionOut, **PROBLEMS},
    tags=["Local accounts"],
    summary="Ask for an account, or come back to the one given up",
)
def connect_account(request: HttpRequest, backend_id: int) -> Any:
    person, at = person_of(request), at_of(request)
    row = selectors.my_account(person, _key(backend_id), at=at)
    made = services.connect_account(backend=row.backend, person=person, by=person, at=at)
    return {**_mine(selectors.my_account(person, row.backend.pk, at=at)), "go_to": made.address}


@router.post(
    "/me/accounts/{backend_id}/disconnect",
    response={200: MyAccountOut, **PROBLEMS},
    tags=["Local accounts"],
    summary="Give an account up; its name and number stay yours",
)
def disconnect_account(request: HttpRequest, backend_id: int) -> Any:
    person, at = person_of(request), at_of(request)
    row = selectors.my_account(person, _key(backend_id), at=at)
    account = services.disconnect_account(backend=row.backend, person=person, by=person, at=at)
    return _mine(MyAccount(row.backend, account, row.policy))


# ------------------------------------------------------------------------------------------------ the provider's
def _shown(row: AccountRow) -> dict[str, Any]:
    account = row.account
    return {
        "backend_id": row.backend.pk,
        "person_id": row.person.pk,
        "full_name": row.person.full_name,
        "email": row.person.email,
        "state": row.state,
        "since": account and account.state_at,
        "username": account.username if account else "",
        "uid": account and account.uid,
        "reason": account.reason if account else "",
        "message": account.message if account else "",
    }


def _named(request: HttpRequest, backend_id: int, person_id: int) -> tuple[Backend, Person, dict[str, Any]]:
    """The backend and the person of an address, and who asks when."""
    by, at = person_of(request), at_of(request)
    backend = selectors.backend_to_manage_accounts_of(by, _key(backend_id), at=at)
    return backend, selectors.person_at_backend(backend, _key(person_id), at=at), {"by": by, "at": at}


@router.get(
    "/provider/accounts",
    response=Page[AccountOut],
    tags=["Local accounts"],
    summary="Who uses your backends, and as which user; those who wait first",
)
def list_accounts(
    request: HttpRequest,
    paging: Paging,
    backend_id: Annotated[int | None, Query()] = None,
    state: Annotated[State | None, Query(description="wanted: those that await your answer")] = None,
) -> Any:
    rows = selectors.local_accounts(
        person_of(request),
        at=at_of(request),
        backend_id=None if backend_id is None else _key(backend_id),
        state="" if state is None else state.value,
    )
    return page_of(request, [_shown(row) for row in rows], paging)


@router.put(
    "/provider/accounts/{backend_id}/{person_id}",
    response={200: AccountOut, **PROBLEMS},
    tags=["Local accounts"],
    summary="Say which local user a person is: the account is there",
)
def set_account(request: HttpRequest, backend_id: int, person_id: int, payload: AccountIn) -> Any:
    """A name or a number once given is kept: another one is refused. The same again changes nothing."""
    backend, person, who = _named(request, backend_id, person_id)
    account = services.set_local_account(
        backend=backend, person=person, username=payload.username, uid=payload.uid, **who
    )
    return _shown(AccountRow(backend, person, account))


@router.delete(
    "/provider/accounts/{backend_id}/{person_id}",
    response={204: None, **PROBLEMS},
    tags=["Local accounts"],
    summary="End an account; its name and number stay the person's",
)
def remove_account(
    request: HttpRequest,
    backend_id: int,
    person_id: int,
    reason: Annotated[str, Query(max_length=1000, description="the person reads it")] = "",
) -> Status[None]:
    backend, person, who = _named(request, backend_id, person_id)
    services.remove_local_account(backend=backend, person=person, reason=reason, **who)
    return Status(204, None)


@router.post(
    "/provider/accounts/{backend_id}/{person_id}/block",
    response={200: AccountOut, **PROBLEMS},
    tags=["Local accounts"],
    summary="Let an account not be used, for a reason that the person reads",
)
def block_account(request: HttpRequest, backend_id: int, person_id: int, payload: AccountReasonIn) -> Any:
    backend, person, who = _named(request, backend_id, person_id)
    account = services.block_account(backend=backend, person=person, reason=payload.reason, **who)
    return _shown(AccountRow(backend, person, account))


@router.post(
    "/provider/accounts/{backend_id}/{person_id}/unblock",
    response={200: AccountOut, **PROBLEMS},
    tags=["Local accounts"],
    summary="Let a blocked account be used again",
)
def unblock_account(request: HttpRequest, backend_id: int, person_id: int) -> Any:
    backend, person, who = _named(request, backend_id, person_id)
    account = services.unblock_account(backend=backend, person=person, **who)
    return _shown(AccountRow(backend, person, account))


# ------------------------------------------------------------------------------------------------ how they come to be
@router.get(
    "/backends/{backend_id}/account-policy",
    response={200: AccountPolicyOut, **PROBLEMS},
    tags=["Local accounts"],
    summary="How accounts come to be at a backend",
)
def get_account_policy(request: HttpRequest, backend_id: int) -> Any:
    return policy_of(backend_of_provider(person_of(request), _key(backend_id), at_of(request)))


@router.patch(
    "/backends/{backend_id}/account-policy",
    response={200: AccountPolicyOut, **PROBLEMS},
    tags=["Local accounts"],
    summary="Say how accounts come to be at a backend",
)
def edit_account_policy(request: HttpRequest, backend_id: int, payload: AccountPolicyEdit) -> Any:
    backend = backend_of_provider(person_of(request), _key(backend_id), at_of(request))
    wanted = payload.dict(exclude_none=True)
    return services.set_account_policy(backend=backend, by=person_of(request), at=at_of(request), **wanted)
