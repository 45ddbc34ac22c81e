"""The provider's side: its feed, its agents, and what they say of resources, usage and the work."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from ninja import Header, Query, Router, Schema, Status
from ninja.errors import HttpError
from pydantic import AwareDatetime, BeforeValidator, Field, field_validator

from bursar.api.auth import address_of, at_of, person_of, token_of
from bursar.api.paging import Page, Paging, page_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.catalogue import selectors as catalogue
from bursar.catalogue.errors import ProviderNotFound
from bursar.catalogue.models import Agent, Backend, ServiceProvider
from bursar.catalogue.services import agents
from bursar.delivery import feed
from bursar.delivery.states import account_states, resource_state
from bursar.plugins import wire
from bursar.plugins.contract import ComponentQuota, Finding, Group, Health, Outcome, Severity, UsageRecord, found
from bursar.plugins.steps import GroupWork
from bursar.provisioning import selectors as provisioning
from bursar.provisioning.account_steps import Work
from bursar.provisioning.desired import wishes_of
from bursar.provisioning.models import ProviderMessage, Resource, SetAside
from bursar.provisioning.services import messages, set_aside, site
from bursar.provisioning.services.imports import FOUND_MAX
from bursar.provisioning.services.usage import take_from_agent
from bursar.structure.roles import Permission, may, require

router = Router(tags=["Provider's side"])

STATE_BYTES_MAX: Final = 64 * 1024
RECORDS_MAX: Final = 10_000
DEPTH_MAX: Final = 20
_write: Final = msgspec.json.Encoder().encode

ProviderId = Annotated[
    int | None, Query(description="needed only by who sees several providers with this token", alias="provider_id")
]
Session = Annotated[UUID | None, Header(alias="Bursar-Agent", description="the session that the agent said hello with")]


def _plain(value: Any, depth: int = 0) -> Any:
    """What PostgreSQL can keep: texts without zero characters and halves of characters, numbers that are numbers."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number that is none")
    if depth > DEPTH_MAX:
        raise ValueError(f"more than {DEPTH_MAX} levels deep")
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one, depth + 1) for key, one in value.items()}
    return [_plain(one, depth + 1) for one in value] if isinstance(value, list) else value


Text = Annotated[str, BeforeValidator(_plain)]
Json = Annotated[dict[str, Any], BeforeValidator(_plain)]
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]


def _provider(request: HttpRequest, provider_id: int | None) -> ServiceProvider:
    """The provider that is meant: the one named, else that of the token, else the only one.

    raises   ProviderNotFound; NotAllowed
    """
    person, at = person_of(request), at_of(request)
    token = token_of(request)
    visible = catalogue.providers_run_by(person, at)
    if provider_id is not None:
        visible = visible.filter(pk=provider_id)
    elif token is not None and token.organization_id is not None:
        visible = visible.filter(organization_id=token.organization_id)
    found = list(visible.select_related("organization").order_by("pk")[:2])
    if len(found) != 1:
        raise ProviderNotFound
    require(person, Permission.VIEW_PROVIDER, found[0].organization, at)
    return found[0]


def _agent(request: HttpRequest, provider: ServiceProvider, session: UUID | None) -> Agent:
    """raises   NotAllowed; AgentNotInCharge"""
    require(person_of(request), Permission.MANAGE_BACKENDS, provider.organization, at_of(request))
    agent = agents.agent_of(provider=provider, session=session)
    agents.note_seen(agent=agent, at=at_of(request))
    return agent


def _small(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(json.dumps(value)) > STATE_BYTES_MAX:
        raise ValueError(f"more than {STATE_BYTES_MAX} bytes")
    return value


# ------------------------------------------------------------------------------------------------ the feed
class FeedEventOut(Schema):
    """Something changed. `state` is the subject's whole state when this is read, so that older events may be skipped."""

    number: int = Field(description="without gaps per provider")
    at: datetime
    subject: Literal["resource", "order", "wallet", "project", "account"]
    id: int
    kinds: list[str] = Field(description="what happened, such as order.placed; may be empty")
    state: dict[str, Any] | None = Field(description="null: there is nothing of it any more that concerns you")


class FeedOut(Schema):
    events: list[FeedEventOut]
    last_number: int = Field(description="the last number there is")
    compacted_to: int = Field(description="up to this number only the latest event of each subject is kept")


class SnapshotOut(Schema):
    number: int = Field(description="of the first part: go on from here by the feed")
    subjects: list[FeedEventOut]
    next: str | None = Field(description="`cursor` of the next part; null: this was the last")


@router.get("/provider/events", response={200: FeedOut, **PROBLEMS}, summary="What changed since a number")
def read_feed(
    request: HttpRequest,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="the last number you have done")] = 0,
    wait: Annotated[int, Query(ge=0, le=60, description="seconds to wait for news where there is none")] = 0,
    limit: Annotated[int, Query(ge=1, le=feed.EVENTS_MAX)] = 200,
    provider_id: ProviderId = None,
    session: Session = None,
) -> Any:
    """With `Accept: text/event-stream` the same events come as a stream; `Last-Event-ID` says where to go on."""
    provider = _provider(request, provider_id)
    if session is not None:
        _agent(request, provider, session)
    page = feed.events_after(provider, after, limit=limit, at=at_of(request))
    return HttpResponse(
        _write(page),
        content_type="application/json",
        # For the layer in front, which holds questions that have no answer yet.
        headers={"Bursar-Provider": str(provider.pk), "Bursar-Events": str(len(page.events))},
    )


@router.get(
    "/provider/snapshot", response={200: SnapshotOut, **PROBLEMS}, summary="All that concerns you now, in parts"
)
def read_snapshot(
    request: HttpRequest,
    cursor: Annotated[str, Query(max_length=40)] = "",
    limit: Annotated[int, Query(ge=1, le=feed.SNAPSHOT_MAX)] = 200,
    provider_id: ProviderId = None,
) -> Any:
    part = feed.snapshot(_provider(request, provider_id), cursor, limit=limit, at=at_of(request))
    return HttpResponse(_write(part), content_type="application/json")


# ------------------------------------------------------------------------------------------------ agents
class FindingIn(Strict):
    severity: Literal["ok", "warning", "broken"]
    subject: Text = Field(max_length=120)
    message: Text = Field(max_length=1000)
    advice: Text = Field("", max_length=1000)


class HealthIn(Strict):
    findings: list[FindingIn] = Field(max_length=50)
    version: Text = Field("", max_length=80)

    def as_health(self) -> Health:
        return Health(
            tuple(Finding(Severity(f.severity), f.subject, f.message, f.advice) for f in self.findings), self.version
        )


class DeclaredIn(Strict):
    name: Text = Field(max_length=120, description="of the backend, as on its page")
    plugin: Text = Field(max_length=40)
    title: Text = Field("", max_length=120)
    version: Text = Field("", max_length=80)
    abilities: list[Annotated[Text, Field(max_length=40)]] = Field([], max_length=50)
    components: list[Json] = Field([], max_length=50)
    order_form: Json = {}

    @field_validator("order_form")
    @classmethod
    def _bounded(cls, value: dict[str, Any]) -> Mapping[str, Any]:
        return _small(value)


class HelloIn(Strict):
    instance: UUID = Field(description="kept on the agent's disk")
    session: UUID = Field(description="made anew by each process; sent as `Bursar-Agent` from now on")
    host: Text = Field(max_length=255)
    version: Text = Field(max_length=40)
    clock: AwareDatetime = Field(description="what time it is there")
    backends: list[DeclaredIn] = Field(min_length=1, max_length=100)


class HelloOut(Schema):
    agent_id: int
    provider_id: int
    provider: str
    backends: dict[str, int] = Field(description="name -> id")
    server_time: datetime
    clock_ahead_ms: int


class BeatIn(Strict):
    clock: AwareDatetime
    status: Json = Field({}, description="what the agent says of itself: work, spool, failures")
    health: dict[Id, HealthIn] = Field({}, max_length=100, description="backend id -> what its plugin found")

    @field_validator("status")
    @classmethod
    def _bounded(cls, value: dict[str, Any]) -> Mapping[str, Any]:
        return _small(value)


class BeatOut(Schema):
    server_time: datetime
    clock_ahead_ms: int
    rival: dict[str, Any] = Field(description="another agent that was refused because this one is in charge")


class AgentOut(Schema):
    id: int
    host: str
    address: str
    version: str
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None
    clock_ahead_ms: int
    backend_ids: list[int]
    status: dict[str, Any]
    rival: dict[str, Any]

    @staticmethod
    def resolve_backend_ids(row: Agent) -> list[int]:
        return [backend.pk for backend in row.backends.all()]


class BackendAtSite(Schema):
    id: int
    name: str
    plugin: str


class RightsOut(Schema):
    """What an agent with this token would be allowed."""

    provider_id: int
    provider: str
    may_read: bool
    may_manage_backends: bool
    may_report_usage: bool
    expires_at: datetime | None
    backends: list[BackendAtSite] = Field(description="that run at the provider's site")


@router.get("/provider/agent/rights", response={200: RightsOut, **PROBLEMS}, summary="What an agent would be allowed")
def agent_rights(request: HttpRequest, provider_id: ProviderId = None) -> Any:
    provider, person, at, token = _provider(request, provider_id), person_of(request), at_of(request), token_of(request)
    organization = provider.organization
    return {
        "provider_id": provider.pk,
        "provider": organization.name,
        "may_read": may(person, Permission.VIEW_PROVIDER, organization, at),
        "may_manage_backends": may(person, Permission.MANAGE_BACKENDS, organization, at),
        "may_report_usage": may(person, Permission.REPORT_USAGE, organization, at),
        "expires_at": None if token is None else token.expires_at,
        "backends": list(catalogue.backends_at_site(provider)),
    }


@router.post("/provider/agent/hello", response={200: HelloOut, **PROBLEMS}, summary="An agent comes forward")
def hello(request: HttpRequest, payload: HelloIn, provider_id: ProviderId = None) -> Any:
    """One agent is in charge of a backend, and uses a token; another is refused (409) while that one lives."""
    provider, at = _provider(request, provider_id), at_of(request)
    agent, backends = agents.come_forward(
        provider=provider,
        hello=agents.Hello(
            instance=payload.instance,
            session=payload.session,
            host=payload.host,
            address=address_of(request),
            version=payload.version,
            clock=payload.clock,
            backends=[agents.Declared(**one.dict()) for one in payload.backends],
        ),
        token=token_of(request),
        by=person_of(request),
        at=at,
    )
    return {
        "agent_id": agent.pk,
        "provider_id": provider.pk,
        "provider": provider.organization.name,
        "backends": backends,
        "server_time": at,
        "clock_ahead_ms": agent.clock_ahead_ms,
    }


@router.post("/provider/agent/beat", response={200: BeatOut, **PROBLEMS}, summary="An agent says that it lives")
def beat(request: HttpRequest, payload: BeatIn, provider_id: ProviderId = None, session: Session = None) -> Any:
    provider, at = _provider(request, provider_id), at_of(request)
    agent = _agent(request, provider, session)
    agent = agents.keep_alive(
        provider=provider,
        session=agent.session,
        clock=payload.clock,
        status=payload.status,
        health={pk: one.as_health() for pk, one in payload.health.items()},
        by=person_of(request),
        at=at,
    )
    return {"server_time": at, "clock_ahead_ms": agent.clock_ahead_ms, "rival": agent.rival}


@router.post("/provider/agent/bye", response={204: None, **PROBLEMS}, summary="An agent stops in good order")
def bye(request: HttpRequest, provider_id: ProviderId = None, session: Session = None) -> Any:
    provider = _provider(request, provider_id)
    agent = _agent(request, provider, session)
    agents.leave(provider=provider, session=agent.session, by=person_of(request), at=at_of(request))
    return Status(204, None)


@router.get("/provider/agents", response={200: list[AgentOut], **PROBLEMS}, summary="The agents of a provider")
def list_agents(request: HttpRequest, provider_id: ProviderId = None) -> Any:
    return agents.agents_of(_provider(request, provider_id))


# ------------------------------------------------------------------------------------------------ resources
class SharesIn(Strict):
    component: Text = Field(max_length=80)
    available: int | None = Field(None, ge=0, le=2**63 - 1)
    locked: bool
    reported: int | None = None


class MadeIn(Strict):
    step: Literal["made"]
    backend_id: Text = Field("", max_length=255)
    state: Json = {}
    access: dict[Text, Annotated[Text, Field(max_length=1000)]] = Field({}, max_length=50)

    @field_validator("state")
    @classmethod
    def _bounded(cls, value: dict[str, Any]) -> Mapping[str, Any]:
        return _small(value)


class RemovedIn(Strict):
    step: Literal["removed"]


class GroupOfProject(Strict):
    project_id: int
    slug: Text = Field(max_length=80)
    name: Text = Field(max_length=32)
    gid: int
    usernames: list[Annotated[Text, Field(max_length=64)]] = Field([], max_length=10_000)


class GroupIn(Strict):
    step: Literal["group"]
    group: GroupOfProject
    is_to_go: bool = False


class MembersIn(Strict):
    step: Literal["members"]
    usernames: list[Annotated[Text, Field(max_length=64)]] = Field(max_length=10_000)


class QuotaIn(Strict):
    step: Literal["quota"]
    number: int = Field(ge=0, description="of the offer")
    shares: list[SharesIn] = Field(max_length=200)


class OutcomeIn(Strict):
    step: Literal["answer"]
    paused: bool = False
    answer: Json = Field(description="`answer`: done, busy, needs_action or refused, and its fields")


class UnreachableIn(Strict):
    step: Literal["unreachable"]
    message: Text = Field(max_length=20_000)


class InStepIn(Strict):
    step: Literal["in_step"]
    message: Text = Field("", max_length=20_000, description="what keeps it from being so; empty = nothing")
    unreachable: bool = False


AnyStep = Annotated[
    MadeIn | RemovedIn | GroupIn | MembersIn | QuotaIn | OutcomeIn | UnreachableIn | InStepIn,
    Field(discriminator="step"),
]


class AgentStepIn(Strict):
    """What a plugin at the site answered, and to which wish."""

    generation: int = Field(ge=1)
    step: AnyStep


class AgentStepOut(Schema):
    still: bool = Field(description="false: a newer wish came; what follows is it")
    state: dict[str, Any] = Field(description="the resource's whole state, as the feed tells it")


class QuotaOfferOut(Schema):
    number: int
    is_told: bool = Field(description="the same was confirmed before")
    shares: list[dict[str, Any]]


@router.get(
    "/provider/resources/{resource_id}", response={200: dict[str, Any], **PROBLEMS}, summary="A resource's state"
)
def read_resource(request: HttpRequest, resource_id: int, provider_id: ProviderId = None) -> Any:
    provider = _provider(request, provider_id)
    return _state(provisioning.resource_of_provider(provider, resource_id), at_of(request))


def _state(resource: Resource, at: datetime) -> dict[str, Any]:
    (wish,) = wishes_of([resource], at=at)
    return resource_state(resource, wish)


@router.post(
    "/provider/resources/{resource_id}/quota-offer",
    response={200: QuotaOfferOut, **PROBLEMS},
    summary="What the resource may draw; counts as told from now on",
)
def offer_quota(request: HttpRequest, resource_id: int, provider_id: ProviderId = None, session: Session = None) -> Any:
    provider = _provider(request, provider_id)
    agent = _agent(request, provider, session)
    resource = site.resource_of(provider=provider, agent=agent, resource_id=resource_id)
    offer = site.offer_quota(resource=resource, at=at_of(request))
    shares = wire.dump(list(offer.shares), list[ComponentQuota])
    return {"number": offer.number, "is_told": offer.is_told, "shares": shares}


@router.post(
    "/provider/resources/{resource_id}/want-accounts",
    response={204: None, **PROBLEMS},
    summary="Ask for the accounts that its users lack",
)
def want_accounts(
    request: HttpRequest, resource_id: int, provider_id: ProviderId = None, session: Session = None
) -> Any:
    """Where accounts come by themselves; they appear in the feed as work to be done."""
    provider = _provider(request, provider_id)
    agent = _agent(request, provider, session)
    site.want_accounts(resource=site.resource_of(provider=provider, agent=agent, resource_id=resource_id))
    return Status(204, None)


class GroupWorkOut(Schema):
    group: dict[str, Any] | None = Field(description="to be made exactly so; null: nothing is to be done")
    is_to_go: bool = Field(False, description="to be taken away instead")
    answer: dict[str, Any] | None = Field(None, description="what stands in the way, as a plugin would answer it")


@router.post(
    "/provider/resources/{resource_id}/group-work",
    response={200: GroupWorkOut, **PROBLEMS},
    summary="What is to be done about the group of its project",
)
def group_work(request: HttpRequest, resource_id: int, provider_id: ProviderId = None, session: Session = None) -> Any:
    provider = _provider(request, provider_id)
    agent = _agent(request, provider, session)
    work = site.group_work(resource=site.resource_of(provider=provider, agent=agent, resource_id=resource_id))
    if work is None:
        return {"group": None}
    if isinstance(work, GroupWork):
        return {"group": wire.dump(work.group), "is_to_go": work.is_to_go}
    return {"group": None, "answer": wire.dump_answer(work)}


class AccountAnswerIn(Strict):
    """What a backend answered when it was asked to make, block or remove an account."""

    work: Literal["make", "block", "remove"]
    answer: Json = Field(description="`answer`: done, busy, needs_action or refused, and its fields")


class AccountStateOut(Schema):
    still: bool = Field(description="false: something else is wanted of it by now")
    state: dict[str, Any] = Field(description="the account's whole state, as the feed tells it")


@router.post(
    "/provider/local-accounts/{account_id}/answers",
    response={200: AccountStateOut, **PROBLEMS},
    summary="What a backend at the site answered about an account",
)
def take_account_answer(
    request: HttpRequest,
    account_id: int,
    payload: AccountAnswerIn,
    provider_id: ProviderId = None,
    session: Session = None,
) -> Any:
    provider = _provider(request, provider_id)
    agent = _agent(request, provider, session)
    account = site.account_of(provider=provider, agent=agent, account_id=account_id)
    still = site.note_account(account=account, work=Work(payload.work), answer=_read_answer(payload.answer))
    return {
        "still": still,
        "state": account_states({provider.pk: [account_id]}, at_of(request))[provider.pk, account_id],
    }


def _read_answer(told: Mapping[str, Any]) -> Outcome:
    try:
        return wire.load_answer(told)
    except wire.Unreadable as error:
        raise HttpError(422, gettext("The answer cannot be read: {why}").format(why=error)) from None


@router.post(
    "/provider/resources/{resource_id}/steps",
    response={200: AgentStepOut, **PROBLEMS},
    summary="What a plugin at the site answered",
)
def take_step(
    request: HttpRequest,
    resource_id: int,
    payload: AgentStepIn,
    provider_id: ProviderId = None,
    session: Session = None,
) -> Any:
    provider, at = _provider(request, provider_id), at_of(request)
    agent = _agent(request, provider, session)
    resource = site.resource_of(provider=provider, agent=agent, resource_id=resource_id)
    step = payload.step
    named: dict[str, Any] = {"resource": resource, "generation": payload.generation, "at": at}
    match step:
        case MadeIn():
            still = site.note_made(**named, backend_id=step.backend_id, state=step.state, access=step.access)
        case RemovedIn():
            still = site.note_removed(**named)
        case GroupIn():
            group = Group(**{**step.group.dict(), "usernames": tuple(step.group.usernames)})
            still = site.note_group(resource=resource, work=GroupWork(group, step.is_to_go))
        case MembersIn():
            still = site.note_members(resource=resource, usernames=step.usernames, at=at)
        case QuotaIn():
            shares = [ComponentQuota(s.component, s.available, s.locked, s.reported) for s in step.shares]
            still = site.note_quota(resource=resource, number=step.number, shares=shares, at=at)
        case OutcomeIn():
            still = site.note_answer(**named, paused=step.paused, answer=_read_answer(step.answer))
        case UnreachableIn():
            still = site.note_unreachable(**named, message=step.message)
        case InStepIn():
            site.note_in_step(resource=resource, message=step.message, unreachable=step.unreachable, at=at)
            still = True
    return {"still": still, "state": _state(provisioning.resource_of_provider(provider, resource_id), at)}


# ------------------------------------------------------------------------------------------------ usage
class TroubleOut(Schema):
    record_id: str
    component: str
    resource_id: int
    code: str
    why: str


class TakenOut(Schema):
    posted: int = Field(description="stand in the ledger now, those that were told before included")
    set_aside: list[TroubleOut] = Field(
        description="kept with the reason, to be sent again after repair: do not tell them again"
    )
    later: list[TroubleOut] = Field(description="not kept: tell them again (a clock runs ahead)")


class AgentRecordsIn(Strict):
    records: list[Json] = Field(max_length=RECORDS_MAX, description="as `UsageRecord` of the plugin contract")


class SetAsideOut(Schema):
    id: int
    record_id: str
    component: str
    resource_id: int
    record: dict[str, Any]
    code: str
    why: str
    first_at: datetime
    last_at: datetime
    tries: int


class ChosenIn(Strict):
    ids: list[Id] | None = Field(None, max_length=10_000, description="null: all")


class GiveUpIn(Strict):
    ids: list[Id] = Field(min_length=1, max_length=1_000)
    reason: Text = Field(max_length=1_000)


class SentOut(Schema):
    posted: int
    still: int


def _backend(request: HttpRequest, backend_id: int) -> Backend:
    return catalogue.backend_of_provider(person_of(request), backend_id, at_of(request))


@router.post(
    "/provider/backends/{backend_id}/usage",
    response={200: TakenOut, **PROBLEMS},
    summary="Usage as an agent's plugin measured it",
)
def take_usage(
    request: HttpRequest,
    backend_id: int,
    payload: AgentRecordsIn,
    provider_id: ProviderId = None,
    session: Session = None,
) -> Any:
    """What can be posted is; one bad record stops no other. Telling a record twice counts once."""
    provider = _provider(request, provider_id)
    agent = _agent(request, provider, session)
    try:
        records = wire.load(list[UsageRecord], payload.records)
    except wire.Unreadable as error:
        raise HttpError(422, gettext("The records cannot be read: {why}").format(why=error)) from None
    taken = take_from_agent(
        provider=provider, agent=agent, backend_id=backend_id, records=records, by=person_of(request), at=at_of(request)
    )
    return {
        "posted": taken.posted,
        "set_aside": [_trouble(one) for one in taken.set_aside],
        "later": [_trouble(one) for one in taken.later],
    }


def _trouble(one: Any) -> dict[str, Any]:
    return {
        "record_id": one.record.id[:200],
        "component": one.record.component[:80],
        "resource_id": one.record.resource_id,
        "code": one.code,
        "why": one.why,
    }


class FoundIn(Strict):
    backend_id: Text = Field(min_length=1, max_length=255)
    name: Text = Field(max_length=1_000)
    limits: dict[Text, int] = {}
    form: Json = {}
    state: Json = {}

    @field_validator("form", "state")
    @classmethod
    def _bounded(cls, value: dict[str, Any]) -> Mapping[str, Any]:
        return _small(value)


class AllFoundIn(Strict):
    found: list[FoundIn] = Field(max_length=FOUND_MAX)


@router.put(
    "/provider/backends/{backend_id}/importable",
    response={204: None, **PROBLEMS},
    summary="What is at a backend at the site and could be taken over",
)
def put_importable(
    request: HttpRequest, backend_id: int, payload: AllFoundIn, provider_id: ProviderId = None, session: Session = None
) -> Any:
    provider = _provider(request, provider_id)
    agent = _agent(request, provider, session)
    things = [
        wire.dump(found(one.backend_id, one.name, one.limits, form=one.form, state=one.state)) for one in payload.found
    ]
    agents.keep_found(
        provider=provider, agent=agent, backend_id=backend_id, found=things, by=person_of(request), at=at_of(request)
    )
    return Status(204, None)


@router.get(
    "/backends/{backend_id}/set-aside",
    response={200: Page[SetAsideOut], **PROBLEMS},
    tags=["Backends"],
    summary="Records of usage that could not be posted",
)
def list_set_aside(request: HttpRequest, backend_id: int, paging: Paging) -> Any:
    return page_of(request, SetAside.objects.filter(backend=_backend(request, backend_id)), paging)


@router.post(
    "/backends/{backend_id}/set-aside/send-again",
    response={200: SentOut, **PROBLEMS},
    tags=["Backends"],
    summary="Try to post them again",
)
def send_again(request: HttpRequest, backend_id: int, payload: ChosenIn) -> Any:
    posted, still = set_aside.send_again(
        backend=_backend(request, backend_id), ids=payload.ids, by=person_of(request), at=at_of(request)
    )
    return {"posted": posted, "still": still}


@router.post(
    "/backends/{backend_id}/set-aside/give-up",
    response={204: None, **PROBLEMS},
    tags=["Backends"],
    summary="Drop records for good, with a reason",
)
def give_up(request: HttpRequest, backend_id: int, payload: GiveUpIn) -> Any:
    set_aside.give_up(
        backend=_backend(request, backend_id),
        ids=payload.ids,
        reason=payload.reason,
        by=person_of(request),
        at=at_of(request),
    )
    return Status(204, None)


# ------------------------------------------------------------------------------------------------ messages
class MessageIn(Strict):
    text: Text = Field(max_length=2_000)
    level: Literal["info", "warning", "error"] = "info"
    progress: int | None = Field(None, description="per cent of the work")


class MessageOut(Schema):
    id: int
    text: str
    level: str
    progress: int | None
    at: datetime


@router.post(
    "/provider/orders/{order_id}/messages", response={201: MessageOut, **PROBLEMS}, summary="Say something on an order"
)
def say_on_order(request: HttpRequest, order_id: int, payload: MessageIn) -> Any:
    return Status(201, _say(request, payload, order_id=order_id))


@router.post(
    "/provider/resources/{resource_id}/messages",
    response={201: MessageOut, **PROBLEMS},
    summary="Say something on a resource",
)
def say_on_resource(request: HttpRequest, resource_id: int, payload: MessageIn) -> Any:
    return Status(201, _say(request, payload, resource_id=resource_id))


def _say(request: HttpRequest, payload: MessageIn, **subject: int) -> ProviderMessage:
    return messages.post_message(
        **subject,
        text=payload.text,
        level=ProviderMessage.Level(payload.level),
        progress=payload.progress,
        by=person_of(request),
        at=at_of(request),
    )
