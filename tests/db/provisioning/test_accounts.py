"""Accounts at a provider: who may have one, what they are called, and what the backend is told of them."""

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from bursar.catalogue.models import Backend
from bursar.events.models import Event
from bursar.kernel.clock import stated_time
from bursar.kernel.errors import DomainError
from bursar.plugins.contract import BackendUnreachable, Busy, Done, Group, Member, NeedsAction, Refused
from bursar.provisioning import account_steps, reconcile, selectors, services, tasks
from bursar.provisioning.errors import (
    AccountBlocked,
    AccountGivenUp,
    AccountNotOffered,
    AccountPolicyInvalid,
    AccountStepNotOpen,
    AddressInvalid,
    BackendSwitchedOff,
    ClaimMissing,
    ClaimTaken,
    ClaimUnusable,
    NumbersUsedUp,
    PersonNotThere,
    ReasonNeeded,
    UidInvalid,
    UidKept,
    UidTaken,
    UsernameKept,
    UsernameNeeded,
    UsernameTaken,
)
from bursar.provisioning.models import AccountPolicy, LocalAccount, ProjectGroup, Resource
from bursar.provisioning.services.accounts import note_account, people_there
from bursar.structure import services as structure
from bursar.structure.errors import NotWithToken
from bursar.structure.models import ApiToken, Person
from bursar.structure.roles import NotAllowed, Role, TokenLimits, TokenScope
from tests.factories.provisioning import World, give_quota, make_resource, make_world, run_jobs
from tests.factories.puppet import KeepingPuppet, Puppet, use_keeping_puppet, use_puppet
from tests.factories.structure import make_membership, make_person, make_project

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(scope="module")
def standing_world(standing: Callable[..., Any], at: datetime) -> World:
    return standing(lambda: make_world(at=at), at=at)  # type: ignore[no-any-return]


@pytest.fixture
def world(standing_world: World, db: None, at: datetime) -> Any:
    with stated_time(at):
        yield deepcopy(standing_world)


@pytest.fixture
def puppet(monkeypatch: pytest.MonkeyPatch) -> Puppet:
    """A backend at which nobody makes accounts but people."""
    return use_puppet(monkeypatch)


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> KeepingPuppet:
    return use_keeping_puppet(monkeypatch)


def policy(world: World, **wanted: Any) -> AccountPolicy:
    return services.set_account_policy(backend=world.backend, by=world.manager, at=world.at, **wanted)


def connect(world: World, person: Person | None = None, *, at: datetime | None = None) -> LocalAccount:
    who = person or world.member
    return services.connect_account(backend=world.backend, person=who, by=who, at=at or world.at).account


def disconnect(world: World, person: Person | None = None) -> LocalAccount:
    who = person or world.member
    return services.disconnect_account(backend=world.backend, person=who, by=who, at=world.at)


def answer(world: World, person: Person | None = None, **told: Any) -> LocalAccount:
    return services.set_local_account(
        backend=world.backend, person=person or world.member, by=world.manager, at=world.at, **told
    )


def named(world: World, full_name: str) -> Person:
    """Somebody else who is a member of the project."""
    person = make_person(full_name=full_name)
    make_membership(person=person, role=Role.PROJECT_MEMBER, scope=world.project, at=world.at - timedelta(days=9))
    return person


def of(world: World, person: Person | None = None) -> LocalAccount:
    return LocalAccount.objects.get(backend=world.backend, person=person or world.member)


def told_events(world: World, person: Person | None = None) -> list[tuple[str, dict[str, Any]]]:
    events = Event.objects.filter(kind__startswith="account.", subject_id=(person or world.member).pk).order_by("pk")
    assert {event.provider_id for event in events} <= {world.provider.organization_id}
    return [(event.kind, event.facts) for event in events]


def ready(world: World) -> Resource:
    resource = make_resource(world)
    run_jobs()
    resource.refresh_from_db()
    assert resource.state == "ok"
    return resource


# ------------------------------------------------------------------------------------------------ who may connect
def test_connect__an_allocation_that_holds_now__is_enough(world: World, puppet: Puppet) -> None:
    account = connect(world)
    assert (account.state, account.username, account.uid, account.state_by) == ("wanted", "", None, world.member)
    facts = {
        "backend": world.backend.pk, "person": world.member.pk, "state": "wanted", "username": "", "uid": None, "reason": "",
    }  # fmt: skip
    assert told_events(world) == [("account.wanted", facts)]


def test_connect__after_the_allocation_ended__is_not_offered(world: World, puppet: Puppet) -> None:
    later = world.at + timedelta(days=365)
    with pytest.raises(AccountNotOffered):
        connect(world, at=later)
    assert list(selectors.my_accounts(world.member, at=later)) == []
    assert not LocalAccount.objects.exists()


def test_connect__a_resource_there_without_any_allocation_left__is_enough(world: World, puppet: Puppet) -> None:
    ready(world)
    assert connect(world, at=world.at + timedelta(days=365)).state == "wanted"


def test_connect__somebody_of_no_project_with_anything_there__is_not_offered(world: World, puppet: Puppet) -> None:
    for stranger in (make_person(), world.manager):
        with pytest.raises(AccountNotOffered):
            connect(world, stranger)


def test_connect__a_backend_of_the_provider_that_sells_nothing_of_the_allocation__is_not_offered(
    world: World, puppet: Puppet
) -> None:
    other = Backend.objects.create(provider=world.provider, name="Another", plugin="manual")
    with pytest.raises(AccountNotOffered):
        services.connect_account(backend=other, person=world.member, by=world.member, at=world.at)


def test_connect__switched_off__says_so(world: World, puppet: Puppet) -> None:
    ready(world)
    backend = world.backend
    services_off = Resource.objects.get().offering.backend
    assert services_off is not None
    services_off.enabled = False
    services_off.save(update_fields=["enabled"])
    with pytest.raises(BackendSwitchedOff):
        services.connect_account(backend=services_off, person=world.member, by=world.member, at=world.at)
    assert not LocalAccount.objects.filter(backend=backend).exists()


def test_connect__for_somebody_else__is_refused(world: World, puppet: Puppet) -> None:
    with pytest.raises(NotAllowed):
        services.connect_account(backend=world.backend, person=world.member, by=world.pi, at=world.at)


def test_connect__with_a_token_that_may_only_read__is_refused(world: World, puppet: Puppet) -> None:
    assert ApiToken  # the person a token gives carries its limits
    world.member.limits = TokenLimits(frozenset({TokenScope.READ}))
    try:
        with pytest.raises(NotWithToken):
            connect(world)
    finally:
        world.member.limits = None
    assert not LocalAccount.objects.exists()


def test_people_there__one_resource_ended_and_one_lives__are_still_there(world: World, puppet: Puppet) -> None:
    first, second = ready(world), ready(world)
    Resource.objects.filter(pk=first.pk).update(state="terminated", terminated_at=world.at)
    assert {p.pk for p in people_there(world.backend, at=world.at)} == {world.pi.pk, world.member.pk}
    Resource.objects.filter(pk=second.pk).update(state="terminated", terminated_at=world.at)
    assert not people_there(world.backend, at=world.at)


# ------------------------------------------------------------------------------------------------ its life
def test_account__asked_for_answered_given_up_and_taken_up__keeps_name_and_number(world: World, puppet: Puppet) -> None:
    connect(world)
    assert answer(world, username="ada", uid=4711).state == "active"
    assert disconnect(world).state == "ended"
    account = connect(world)
    assert (account.state, account.username, account.uid) == ("wanted", "ada", 4711)
    assert answer(world).state == "active"  # the name it has is confirmed
    kinds = [kind for kind, _facts in told_events(world)]
    assert kinds == ["account.wanted", "account.set", "account.ended", "account.wanted", "account.set"]


def test_connect__twice__is_once(world: World, puppet: Puppet) -> None:
    connect(world)
    connect(world)
    answer(world, username="ada")
    assert connect(world).state == "active"
    assert [kind for kind, _facts in told_events(world)] == ["account.wanted", "account.set"]


def test_disconnect__before_anybody_answered__takes_it_back(world: World, puppet: Puppet) -> None:
    connect(world)
    assert disconnect(world).state == "ended"
    assert disconnect(world).state == "ended"
    assert [kind for kind, _facts in told_events(world)] == ["account.wanted", "account.ended"]


def test_disconnect__nothing_there__is_not_offered(world: World, puppet: Puppet) -> None:
    with pytest.raises(AccountNotOffered):
        disconnect(world)


def test_block__with_a_reason__the_person_reads_it_and_cannot_get_around_it(world: World, puppet: Puppet) -> None:
    who = {"backend": world.backend, "person": world.member, "by": world.manager, "at": world.at}
    connect(world)
    with pytest.raises(AccountStepNotOpen):
        services.block_account(**who, reason="No.")
    answer(world, username="ada")
    with pytest.raises(ReasonNeeded):
        services.block_account(**who, reason="  ")
    services.block_account(**who, reason="Mining coins.")
    for way in (connect, disconnect):
        with pytest.raises(AccountBlocked) as refused:
            way(world)
        assert "Mining coins." in str(refused.value)
    with pytest.raises(AccountBlocked):
        answer(world)
    with pytest.raises(AccountStepNotOpen):
        services.remove_local_account(**who)
    assert (of(world).state, of(world).reason) == ("blocked", "Mining coins.")
    services.block_account(**who, reason="Mining many coins.")
    services.unblock_account(**who)
    assert (of(world).state, of(world).reason) == ("active", "")
    services.unblock_account(**who)
    kinds = [(kind, facts["reason"]) for kind, facts in told_events(world)]
    assert kinds == [
        ("account.wanted", ""), ("account.set", ""), ("account.blocked", "Mining coins."),
        ("account.blocked", "Mining many coins."), ("account.unblocked", ""),
    ]  # fmt: skip


def test_provider_verbs__by_others__are_refused_and_change_nothing(world: World, puppet: Puppet) -> None:
    connect(world)
    who = {"backend": world.backend, "person": world.member, "at": world.at}
    for by in (world.member, world.pi, world.owner):
        for verb in (
            lambda: services.set_local_account(**who, by=by, username="x"),  # noqa: B023
            lambda: services.block_account(**who, by=by, reason="x"),  # noqa: B023
            lambda: services.unblock_account(**who, by=by),  # noqa: B023
            lambda: services.remove_local_account(**who, by=by),  # noqa: B023
            lambda: services.set_account_policy(backend=world.backend, by=by, at=world.at, naming="anonymous"),  # noqa: B023
        ):
            with pytest.raises(NotAllowed):
                verb()
    assert [kind for kind, _facts in told_events(world)] == ["account.wanted"]


def test_end__by_the_provider__may_be_taken_back_by_it_but_not_what_the_person_gave_up(
    world: World, puppet: Puppet
) -> None:
    connect(world)
    answer(world, username="ada")
    services.remove_local_account(
        backend=world.backend, person=world.member, reason="Left.", by=world.manager, at=world.at
    )
    assert (of(world).state, of(world).reason) == ("ended", "Left.")
    assert answer(world).state == "active"
    disconnect(world)
    with pytest.raises(AccountGivenUp):
        answer(world)
    assert of(world).state == "ended"


def test_answer__for_somebody_who_uses_nothing_there__is_refused(world: World, puppet: Puppet) -> None:
    with pytest.raises(PersonNotThere):
        answer(world, username="ada")


# ------------------------------------------------------------------------------------------------ names and numbers
def test_answer__another_name_or_number_later__is_refused(world: World, puppet: Puppet) -> None:
    connect(world)
    with pytest.raises(UsernameNeeded):
        answer(world)
    answer(world, username="ada", uid=4711)
    with pytest.raises(UsernameKept):
        answer(world, username="grace")
    with pytest.raises(UidKept):
        answer(world, uid=4712)
    answer(world, username="ada", uid=4711)
    assert (of(world).username, of(world).uid) == ("ada", 4711)


def test_answer__name_or_number_of_somebody_else__is_refused_also_after_theirs_ended(
    world: World, puppet: Puppet
) -> None:
    connect(world)
    answer(world, username="ada", uid=4711)
    disconnect(world)
    connect(world, world.pi)
    with pytest.raises(UsernameTaken):
        answer(world, world.pi, username="ada")
    with pytest.raises(UidTaken):
        answer(world, world.pi, username="grace", uid=4711)
    for uid in (0, -1, 2**31, 2**70):
        with pytest.raises(UidInvalid):
            answer(world, world.pi, username="grace", uid=uid)
    assert (of(world, world.pi).state, of(world, world.pi).username) == ("wanted", "")


@pytest.mark.parametrize(
    "change", ["username = 'other'", "uid = 4712", "uid = NULL", "person_id = {pi}", "username = ''", None]
)
def test_row__name_number_and_person__are_kept_by_the_database(
    world: World, puppet: Puppet, change: str | None
) -> None:
    connect(world)
    answer(world, username="ada", uid=4711)
    statement = "DELETE FROM local_account" if change is None else f"UPDATE local_account SET {change}"
    with pytest.raises(DatabaseError, match="keeps its name, number and owner"), transaction.atomic():
        connection.cursor().execute(statement.format(pi=world.pi.pk))
    assert (of(world).username, of(world).uid) == ("ada", 4711)


def test_initial_last__two_of_one_name__are_two_and_never_reused(world: World, puppet: Puppet) -> None:
    policy(world, naming="initial_last", uid_first=5000, uid_last=5010)
    people = [named(world, name) for name in ("Ada Lovelace", "Anna Lovelace", "Åsa Lovelace")]
    made = [connect(world, person) for person in people[:2]]
    assert [(a.username, a.uid) for a in made] == [("alovelace", 5000), ("alovelace2", 5001)]
    disconnect(world, people[0])
    third = connect(world, people[2])
    assert (third.username, third.uid) == ("alovelace3", 5002)
    again = connect(world, people[0])
    assert (again.username, again.uid) == ("alovelace", 5000)


def test_initial_last__a_new_name_of_the_person__changes_nothing(world: World, puppet: Puppet) -> None:
    policy(world, naming="initial_last")
    person = named(world, "Ada Byron")
    connect(world, person)
    Person.objects.filter(pk=person.pk).update(full_name="Ada Lovelace")
    disconnect(world, person)
    person.refresh_from_db()
    assert connect(world, person).username == "abyron"


def test_anonymous__numbers__pass_over_what_the_provider_gave(world: World, puppet: Puppet) -> None:
    connect(world, world.pi)
    answer(world, world.pi, username="u000002")
    policy(world, naming="anonymous")
    assert [connect(world, named(world, "X")).username for _ in range(3)] == ["u000001", "u000003", "u000004"]


def test_uids__told_ones_in_the_range__are_passed_over_and_the_end_is_said(world: World, puppet: Puppet) -> None:
    connect(world, world.pi)
    answer(world, world.pi, username="grace", uid=5001)
    policy(world, naming="anonymous", uid_first=5000, uid_last=5002)
    assert [connect(world, named(world, "X")).uid for _ in range(2)] == [5000, 5002]
    last = named(world, "Late")
    with pytest.raises(NumbersUsedUp):
        connect(world, last)
    assert not LocalAccount.objects.filter(person=last).exists()
    policy(world, uid_last=5003)
    assert connect(world, last).uid == 5003


def test_uids__a_range_that_begins_elsewhere__is_used_from_its_beginning(world: World, puppet: Puppet) -> None:
    policy(world, naming="anonymous", uid_first=5000, uid_last=5002)
    assert connect(world).uid == 5000
    policy(world, uid_first=4999)
    assert [connect(world, named(world, "X")).uid for _ in range(3)] == [4999, 5001, 5002]


CAMPUS = {"openid_connect": {"APPS": [{"provider_id": "campus", "name": "Campus login"}], "OAUTH_PKCE_ENABLED": True}}


def says(person: Person, provider: str = "campus", **claims: Any) -> None:
    SocialAccount.objects.create(
        user=person, provider=provider, uid=f"{provider}-{person.pk}", extra_data={"userinfo": claims}
    )


def test_claim__of_the_chosen_login__is_the_name(world: World, puppet: Puppet, settings: Any) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = CAMPUS
    policy(world, naming="claim", identity_provider="campus", claim="preferred_username")
    says(world.member, provider="elsewhere", preferred_username="root-of-all")
    with pytest.raises(ClaimMissing) as refused:
        connect(world)
    assert "“Campus login”, which has told us no “preferred_username”" in str(refused.value)
    says(world.member, preferred_username="ada")
    assert connect(world).username == "ada"
    other = named(world, "X")
    says(other, preferred_username="ada")
    with pytest.raises(ClaimTaken):
        connect(world, other)


@pytest.mark.parametrize("value", ["Ada", "ada@campus.example", "root", "a b", "-x", ["ada"], 17, {"a": 1}, "a" * 33])
def test_claim__that_is_no_user_name__says_what_to_do(world: World, puppet: Puppet, settings: Any, value: Any) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = CAMPUS
    policy(world, naming="claim", identity_provider="campus", claim="preferred_username")
    says(world.member, preferred_username=value)
    with pytest.raises(ClaimUnusable):
        connect(world)
    assert not LocalAccount.objects.exists()


@pytest.mark.parametrize(
    ("wanted", "refusal", "field"),
    [
        ({"arrival": "redirect"}, AddressInvalid, "connect_url"),
        ({"connect_url": "http://accounts.example.org/"}, AddressInvalid, "connect_url"),
        ({"connect_url": "javascript:alert(1)"}, AddressInvalid, "connect_url"),
        ({"connect_url": "https://"}, AddressInvalid, "connect_url"),
        ({"connect_url": "https://me:secret@example.org/"}, AddressInvalid, "connect_url"),
        ({"connect_url": "https://example.org:port/"}, AddressInvalid, "connect_url"),
        ({"connect_url": 'https://example.org/"><script>'}, AddressInvalid, "connect_url"),
        ({"connect_url": "https://example.org/#x"}, AddressInvalid, "connect_url"),
        ({"connect_url": "https://example.org/" + "x" * 500}, AddressInvalid, "connect_url"),
        ({"naming": "claim", "claim": "x", "identity_provider": "nobody"}, AccountPolicyInvalid, "identity_provider"),
        ({"naming": "claim", "claim": "a b", "identity_provider": "campus"}, AccountPolicyInvalid, "claim"),
        ({"arrival": "sometimes"}, AccountPolicyInvalid, "arrival"),
        ({"naming": "nice"}, AccountPolicyInvalid, "naming"),
        ({"uid_first": 0}, AccountPolicyInvalid, "uid_first"),
        ({"uid_first": 300_000}, AccountPolicyInvalid, "uid_last"),
        ({"gid_last": 2**31}, AccountPolicyInvalid, "gid_last"),
    ],
)
def test_policy__that_cannot_hold__names_its_field_and_changes_nothing(
    world: World, puppet: Puppet, settings: Any, wanted: dict[str, Any], refusal: type[DomainError], field: str
) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = CAMPUS
    with pytest.raises(refusal) as refused:
        policy(world, **wanted)
    assert refused.value.facts["field"] == field
    assert not AccountPolicy.objects.exists()
    assert not Event.objects.filter(kind="backend.accounts_edited").exists()


@pytest.mark.parametrize("address", ["https://example.org/a?b=c", "http://localhost:9000/x", "http://[::1]/"])
def test_policy__an_address_that_may_be__is_kept_and_told(world: World, puppet: Puppet, address: str) -> None:
    assert policy(world, arrival="redirect", connect_url=address).connect_url == address
    event = Event.objects.get(kind="backend.accounts_edited")
    assert event.facts == {"fields": ["arrival", "connect_url"], "arrival": "redirect", "connect_url": address}
    policy(world, arrival="redirect")
    assert Event.objects.filter(kind="backend.accounts_edited").count() == 1


# ------------------------------------------------------------------------------------------------ the backend is told
def verbs(keeping: KeepingPuppet) -> list[tuple[str, str]]:
    """What the backend was told of people, in order; and forget it."""
    said = [(verb, what.username) for verb, what in keeping.told if isinstance(what, Member)]
    keeping.told.clear()
    return said


def test_automatic__a_resource_is_made_ready__everybody_has_an_account_and_is_in_it(
    world: World, keeping: KeepingPuppet
) -> None:
    resource = ready(world)
    names = {f"local{world.pi.pk}", f"local{world.member.pk}"}
    assert set(resource.members) == names
    assert [(a.state, a.told, a.username) for a in (of(world), of(world, world.pi))] == [
        ("active", "active", f"local{world.member.pk}"), ("active", "active", f"local{world.pi.pk}"),
    ]  # fmt: skip
    kinds = [(kind, facts["username"]) for kind, facts in told_events(world)]
    assert kinds == [("account.wanted", ""), ("account.set", f"local{world.member.pk}")]
    assert sorted(verbs(keeping)) == [("ensure_account", ""), ("ensure_account", "")]
    with stated_time(world.at + timedelta(minutes=6)):
        tasks.sync_all(timestamp=0)
        run_jobs()
    assert verbs(keeping) == []


def test_automatic__names_of_ours__are_told_with_their_numbers(world: World, keeping: KeepingPuppet) -> None:
    policy(world, naming="anonymous", uid_first=7000, uid_last=7999)
    ready(world)
    told = {(m.username, m.uid, m.blocked) for verb, m in keeping.told if isinstance(m, Member)}
    assert told == {("u000001", 7000, False), ("u000002", 7001, False)}


def test_on_request__members_wait_and_join_by_themselves(world: World, keeping: KeepingPuppet) -> None:
    policy(world, arrival="on_request")
    resource = ready(world)
    assert (resource.members, verbs(keeping)) == ([], [])
    connect(world)
    run_jobs()
    resource.refresh_from_db()
    assert resource.members == [f"local{world.member.pk}"]
    assert verbs(keeping) == [("ensure_account", "")]


def test_redirect__the_plugin_makes_nothing_before_the_provider_answered(world: World, keeping: KeepingPuppet) -> None:
    policy(world, arrival="redirect", connect_url="https://accounts.example.org/in")
    resource = ready(world)
    connect(world)
    run_jobs()
    assert (of(world).state, verbs(keeping)) == ("wanted", [])
    answer(world, username="ada")
    run_jobs()
    resource.refresh_from_db()
    assert (of(world).told, resource.members) == ("active", ["ada"])
    assert verbs(keeping) == [("ensure_account", "ada")]


def test_block_and_end__reach_the_backend_and_the_resource(world: World, keeping: KeepingPuppet) -> None:
    resource = ready(world)
    verbs(keeping)
    mine, other = f"local{world.member.pk}", f"local{world.pi.pk}"
    who = {"backend": world.backend, "person": world.member, "by": world.manager, "at": world.at}

    def after(step: Callable[[], Any]) -> tuple[list[tuple[str, str]], list[str], str]:
        step()
        run_jobs()
        resource.refresh_from_db()
        return verbs(keeping), resource.members, of(world).told

    assert after(lambda: services.block_account(**who, reason="x")) == ([("block_account", mine)], [other], "blocked")
    assert after(lambda: services.unblock_account(**who)) == (
        [("ensure_account", mine)],
        sorted([mine, other]),
        "active",
    )
    assert after(lambda: disconnect(world)) == ([("remove_account", mine)], [other], "gone")
    assert after(lambda: connect(world)) == ([("ensure_account", mine)], sorted([mine, other]), "active")


def test_ended__in_automatic__is_not_made_again_by_itself(world: World, keeping: KeepingPuppet) -> None:
    ready(world)
    disconnect(world)
    run_jobs()
    verbs(keeping)
    with stated_time(world.at + timedelta(minutes=6)):
        tasks.sync_all(timestamp=0)
        tasks.keep_all_accounts(timestamp=0)
        run_jobs()
    assert (of(world).state, verbs(keeping)) == ("ended", [])


def test_deactivated__on_the_platform__is_blocked_at_the_backend_and_let_in_again(
    world: World, keeping: KeepingPuppet
) -> None:
    ready(world)
    verbs(keeping)
    structure.deactivate_person(person=world.member, by=None, at=world.at)
    tasks.keep_all_accounts(timestamp=0)
    run_jobs(only="accounts")
    assert (of(world).state, of(world).told) == ("active", "blocked")
    assert verbs(keeping) == [("block_account", f"local{world.member.pk}")]
    structure.reactivate_person(person=world.member, by=None, at=world.at)
    tasks.keep_all_accounts(timestamp=0)
    run_jobs(only="accounts")
    assert (of(world).told, verbs(keeping)) == ("active", [("ensure_account", f"local{world.member.pk}")])


def test_a_new_key_or_name__of_the_person__is_told_to_the_backend(world: World, keeping: KeepingPuppet) -> None:
    ready(world)
    tasks.read_events(timestamp=0)
    verbs(keeping)
    who = {"person": world.member, "by": world.member, "at": world.at}
    structure.edit_person(**who, full_name="Ada Byron", language="en", time_zone="UTC")
    later = datetime.now(UTC) + timedelta(minutes=1)  # events are settled by the clock of the database
    with stated_time(later):
        tasks.read_events(timestamp=0)
        assert of(world).told == "old"
        run_jobs()
    told = [m for verb, m in keeping.told if isinstance(m, Member)]
    assert [(m.full_name, m.username) for m in told] == [("Ada Byron", f"local{world.member.pk}")]
    assert of(world).told == "active"


def test_connect__again_at_a_backend_that_ends_nothing__is_made_again(world: World, keeping: KeepingPuppet) -> None:
    ready(world)
    disconnect(world)
    LocalAccount.objects.filter(person=world.member).update(told="active")  # it was told nothing
    connect(world)
    run_jobs()
    assert of(world).state == "active"


def test_unsettled__where_nobody_makes_accounts__names_no_backend(world: World, puppet: Puppet) -> None:
    connect(world)
    answer(world, username="ada")
    assert account_steps.unsettled() == []


def test_sync__of_a_backend_where_people_answer__asks_no_more_for_more_who_wait(world: World, puppet: Puppet) -> None:
    policy(world, arrival="on_request")
    resource = ready(world)

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert reconcile.sync(resource.pk)
        return len(captured)

    connect(world)
    run_jobs()
    before = count()
    for number in range(4):
        connect(world, named(world, f"Person {number}"))
    run_jobs()
    assert count() == before


def test_message_is_lost__the_next_look__tells_it_again(world: World, keeping: KeepingPuppet) -> None:
    ready(world)
    verbs(keeping)
    keeping.answers["remove_account"] = [Busy(5, "Later.")]
    disconnect(world)
    run_jobs(only="accounts")
    assert (of(world).told, of(world).message) == ("active", "Later.")
    with stated_time(world.at + timedelta(minutes=1)):
        run_jobs(only="accounts")
    assert (of(world).told, of(world).message) == ("gone", "")


@pytest.mark.parametrize("said", [Refused("Not here."), NeedsAction("Not here.")])
def test_account_that_cannot_be_had__the_others_go_on_and_the_person_reads_why(
    world: World, keeping: KeepingPuppet, said: Any
) -> None:
    refused = world.member if world.member.pk < world.pi.pk else world.pi
    keeping.answers["ensure_account"] = [
        lambda m: said if m.person_id == refused.pk else Done(f"local{m.person_id}")
    ] * 9
    resource = ready(world)
    other = world.pi if refused == world.member else world.member
    assert resource.members == [f"local{other.pk}"]
    assert (of(world, refused).state, of(world, refused).message) == ("wanted", "Not here.")
    (row,) = selectors.my_accounts(refused, at=world.at)
    assert (row.may_connect, row.account and row.account.message) == (True, "Not here.")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Done(backend_id="Not A Name"), "The backend gave a name that cannot be one."),
        (Done(backend_id=""), "The backend gave a name that cannot be one."),
        (Done(backend_id="ada\n"), "The backend gave a name that cannot be one."),
        (Done(backend_id="taken"), "The backend gave a name that belongs to somebody else."),
        (Done(backend_id="fine", state={"uid": 200_000}), "The backend gave a number that cannot be this account's."),
        (Done(backend_id="fine", state={"uid": -4}), "The backend gave a number that cannot be this account's."),
    ],
)
def test_plugin__tells_what_cannot_be__is_not_believed(
    world: World, keeping: KeepingPuppet, said: Done, why: str
) -> None:
    policy(world, arrival="on_request")
    connect(world, world.pi)
    assert answer(world, world.pi, username="taken").uid == 200_000
    connect(world)
    LocalAccount.objects.filter(person=world.pi).update(told="active")
    keeping.answers["ensure_account"] = [said]
    run_jobs()
    assert (of(world).state, of(world).username) == ("wanted", "")
    assert of(world).message.startswith(why)


def test_note_account__that_nobody_asked_for__is_taken_only_where_they_come_by_themselves(
    world: World, puppet: Puppet
) -> None:
    told = {"backend": world.backend, "person_id": world.member.pk, "username": "ada", "at": world.at}
    policy(world, arrival="on_request")
    assert note_account(**told) is False
    assert not LocalAccount.objects.exists()
    policy(world, arrival="automatic")
    assert note_account(**told) is True
    assert (of(world).state, of(world).username, of(world).told) == ("active", "ada", "active")
    assert [kind for kind, _facts in told_events(world)] == ["account.wanted", "account.set"]


def test_plugin__tells_a_number_where_none_was_given__is_believed(world: World, keeping: KeepingPuppet) -> None:
    policy(world, arrival="on_request")
    account = connect(world)
    assert account.uid == 200_000  # given from the range, since a plugin makes the account
    keeping.answers["ensure_account"] = [Done(backend_id="ada", state={"uid": 200_000})]
    run_jobs()
    assert (of(world).username, of(world).uid, of(world).state) == ("ada", 200_000, "active")


def test_plugin__another_name_than_ours__is_written_and_ours_stays(world: World, keeping: KeepingPuppet) -> None:
    policy(world, naming="anonymous", arrival="on_request")
    connect(world)
    keeping.answers["ensure_account"] = [Done(backend_id="theirs")]
    run_jobs()
    assert (of(world).username, of(world).state) == ("u000001", "wanted")
    assert of(world).message.startswith("The backend made another name than the one that was given here.")


def test_claim__missing_in_automatic__stands_on_the_account_and_heals(
    world: World, keeping: KeepingPuppet, settings: Any
) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = CAMPUS
    policy(world, naming="claim", identity_provider="campus", claim="preferred_username")
    resource = ready(world)
    assert (resource.members, verbs(keeping)) == ([], [])
    assert "has told us no “preferred_username”" in of(world).message
    says(world.member, preferred_username="ada")
    connect(world)  # "try again"
    run_jobs()
    resource.refresh_from_db()
    assert (resource.members, of(world).message) == (["ada"], "")


def test_unreachable__backend__nothing_is_lost(world: World, keeping: KeepingPuppet) -> None:
    policy(world, arrival="on_request")

    def away(_what: Any) -> Any:
        raise BackendUnreachable("away")

    keeping.answers["ensure_account"] = [away]
    connect(world)
    run_jobs(only="accounts")
    assert of(world).state == "wanted"
    with stated_time(world.at + timedelta(minutes=1)):
        run_jobs(only="accounts")
    assert of(world).state == "active"


def test_unsettled__nothing_to_do__names_no_backend(world: World, keeping: KeepingPuppet) -> None:
    ready(world)
    assert account_steps.unsettled() == []
    disconnect(world)
    assert account_steps.unsettled() == [world.backend.pk]


# ------------------------------------------------------------------------------------------------ groups
def groups(keeping: KeepingPuppet) -> list[tuple[str, str, int, tuple[str, ...]]]:
    said = [(verb, g.name, g.gid, g.usernames) for verb, g in keeping.told if isinstance(g, Group)]
    keeping.told.clear()
    return said


def test_group__of_a_project__is_exact_and_goes_with_its_last_resource(world: World, keeping: KeepingPuppet) -> None:
    policy(world, gid_first=9000, gid_last=9999)
    resource = ready(world)
    both = tuple(sorted((f"local{world.pi.pk}", f"local{world.member.pk}")))
    name = ProjectGroup.objects.get().name
    assert groups(keeping) == [("ensure_group", name, 9000, both)]
    second = ready(world)
    assert groups(keeping) == []
    disconnect(world)
    run_jobs()
    assert groups(keeping) == [("ensure_group", name, 9000, (f"local{world.pi.pk}",))]
    for each in (resource, second):
        services.submit_termination(resource_id=each.pk, by=None, at=world.at)
        run_jobs()
    assert groups(keeping) == [("remove_group", name, 9000, ())]
    assert ProjectGroup.objects.get().is_there is False
    ready(world)
    assert groups(keeping) == [("ensure_group", name, 9000, (f"local{world.pi.pk}",))]


def test_group__row__is_kept_by_the_database(world: World, keeping: KeepingPuppet) -> None:
    ready(world)
    for statement in (
        "UPDATE project_group SET gid = gid + 1",
        "UPDATE project_group SET name = 'x'",
        "DELETE FROM project_group",
    ):
        with pytest.raises(DatabaseError, match="keeps its name, number and owner"), transaction.atomic():
            connection.cursor().execute(statement)


def test_group__numbers_used_up__the_provider_is_told_what_to_do(world: World, keeping: KeepingPuppet) -> None:
    policy(world, gid_first=9000, gid_last=9000)
    other = make_project(organization=world.university, at=world.at)
    ProjectGroup.objects.create(backend=world.backend, project=other, name="other", gid=9000, made_at=world.at)
    resource = make_resource(world)
    run_jobs()
    resource.refresh_from_db()
    assert resource.awaited_work.startswith("All numbers from 9000 to 9000 are given")


# ------------------------------------------------------------------------------------------------ how it is read
def test_local_accounts__more_people_and_backends__ask_the_same_number_of_queries(world: World, puppet: Puppet) -> None:
    ready(world)

    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            rows = selectors.local_accounts(world.manager, at=world.at)
            assert len(rows) == len({(row.backend.pk, row.person.pk) for row in rows})
        return len(captured)

    def count_mine() -> int:
        with CaptureQueriesContext(connection) as captured:
            for row in selectors.my_accounts(world.member, at=world.at):
                assert row.backend.provider.organization.name
        return len(captured)

    before = (count(), count_mine())
    for number in range(5):
        connect(world, named(world, f"Person {number}"))
    give_quota(world, world.cpu, 1)
    assert (count(), count_mine()) == before


def test_local_accounts__state__filters_and_those_who_wait_come_first(world: World, puppet: Puppet) -> None:
    ready(world)
    connect(world)
    answer(world, username="ada")
    late = named(world, "Late")
    connect(world, late)
    rows = selectors.local_accounts(world.manager, at=world.at)
    assert [(row.person, row.state) for row in rows] == [
        (late, "wanted"), (world.pi, "none"), (world.member, "active"),
    ]  # fmt: skip
    assert [row.person for row in selectors.local_accounts(world.manager, at=world.at, state="wanted")] == [late]
    assert selectors.local_accounts(world.pi, at=world.at) == []
