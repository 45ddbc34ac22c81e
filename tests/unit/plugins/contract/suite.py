"""The contract, as tests that every plugin passes. A plugin's test module says how to make it and what its people do.

    class TestMyPlugin(suite.Declares, suite.Reaches, suite.Provides, suite.PausesContract):
        @pytest.fixture
        def case(self): ...return a suite.Case...

Each class belongs to one ability; `Declares` checks that none is left out.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from bursar.plugins.contract import (
    BackendUnreachable,
    Busy,
    ComponentQuota,
    DesiredResource,
    Done,
    Group,
    Health,
    Member,
    NeedsAction,
    Outcome,
    Plugin,
    Presence,
    Ref,
    Refused,
    Severity,
    UsageRecord,
)
from bursar.plugins.discovery import declaration_faults

HOSTILE_NAMES = (
    '"; rm -rf ~ #',
    "$(touch /tmp/bursar-was-here) `id`",
    "a' OR '1'='1",
    "two\nlines\r\nand\x00more\x1b[31m",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "-rf --all",
    "ἀβγ 日本語 🦄 \u202egnp",
    "%s {0} {name} %(x)s",
    "x" * 5000,
    "   ",
)

_ids = count(1)


@dataclass
class Case:
    """One plugin and how to deal with it in tests.

    plugin         set up against a working backend
    secrets        the secret values in its settings
    unreachable    the same plugin where nothing answers; None when it has no backend that could be away
    form, limits   a valid order
    component      the component whose use is measured and limited
    member         a person who may use resources: with a username that the backend will accept
    person_does    what a person at the provider does after NeedsAction: the resource afterwards
    use            make the resource use something and come to an end: (resource, username) -> None
    begin_use      make the resource use something that goes on: (resource, username) -> None
    found_there    put something there that Bursar did not ask for; its backend_id
    first_id       where the ids of the test's resources begin
    """

    plugin: Plugin
    secrets: Sequence[str] = ()
    unreachable: Plugin | None = None
    form: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    component: str = ""
    member: Member = field(default_factory=lambda: Member(1, "ada@example.org", "Ada", "ada"))
    person_does: Callable[[DesiredResource, str], DesiredResource] | None = None
    use: Callable[[DesiredResource, str], None] | None = None
    begin_use: Callable[[DesiredResource, str], None] | None = None
    found_there: Callable[[], str] | None = None
    first_id: int = 0

    def resource(self, **changes: Any) -> DesiredResource:
        """A resource that nobody has heard of yet."""
        number = self.first_id + next(_ids)
        fields: dict[str, Any] = {
            "id": number,
            "slug": f"resource-{number}",
            "name": f"Resource {number}",
            "offering_slug": "offering",
            "organization": Ref(1, "north", "University of the North"),
            "projects": (Ref(1, "climate", "Climate"), Ref(2, "sea-ice", "Sea ice")),
            "owner": self.member,
            "plan": "standard",
            "limits": self.limits,
            "form": self.form,
            "members": (self.member,),
        }
        return DesiredResource(**(fields | changes))

    def drive(
        self, verb: Callable[[DesiredResource], Outcome], resource: DesiredResource, *, seconds: float = 30
    ) -> tuple[Outcome, DesiredResource]:
        """Ask as the loop does until it is done or refused; the last answer and the resource as it then stands."""
        deadline = time.monotonic() + seconds
        while True:
            outcome = verb(resource)
            if isinstance(outcome, Busy) and time.monotonic() < deadline:
                time.sleep(min(outcome.retry_after_seconds, 0.2))
            elif isinstance(outcome, NeedsAction) and self.person_does is not None:
                resource = self.person_does(resource, verb.__name__)
            else:
                break
        if isinstance(outcome, Done) and verb.__name__ == "ensure":
            resource = replace(resource, backend_id=outcome.backend_id, state=outcome.state)
        return outcome, resource

    def provisioned(self, **changes: Any) -> DesiredResource:
        outcome, resource = self.drive(self.plugin.ensure, self.resource(**changes))  # type: ignore[attr-defined]
        assert isinstance(outcome, Done), outcome
        return resource

    def usable(self, available: int | None = 10**9) -> DesiredResource:
        """A resource with a member and quota, as far as the plugin knows of either."""
        resource = self.provisioned()
        if "manages_members" in self.plugin.abilities():
            assert isinstance(self.plugin.set_members(resource), Done)  # type: ignore[attr-defined]
        if "enforces_quota" in self.plugin.abilities():
            self.give(resource, available)
        return resource

    def give(self, resource: DesiredResource, available: int | None) -> None:
        quota = [ComponentQuota(self.component, available, locked=available == 0)]
        assert isinstance(self.plugin.enforce_quota(resource, quota), Done)  # type: ignore[attr-defined]


class Contract:
    """Base of the classes below; `case` is the fixture that each test module writes."""

    @pytest.fixture
    @abstractmethod
    def case(self) -> Case: ...


CLASS_OF_ABILITY: dict[str, str] = {
    "provisions": "Provides",
    "pauses": "PausesContract",
    "enforces_quota": "QuotaContract",
    "manages_accounts": "AccountsContract",
    "ends_accounts": "EndsAccountsContract",
    "manages_groups": "GroupsContract",
    "manages_members": "MembersContract",
    "measures_usage": "UsageContract",
    "imports": "ImportsContract",
    "actions": "ActionsContract",
}


class Declares(Contract):
    def test_declare__plugin_class__says_all_it_must(self, case: Case) -> None:
        assert declaration_faults(type(case.plugin)) == []

    def test_declare__each_ability__is_tested_here(self, case: Case) -> None:
        tested = {base.__name__ for base in type(self).__mro__}
        missing = [name for name in case.plugin.abilities() if CLASS_OF_ABILITY.get(name) not in tested]
        assert missing == []

    def test_declare__secret_settings__are_marked_as_secret(self, case: Case) -> None:
        marked = {
            value.get_secret_value()
            for value in (getattr(case.plugin.settings, name) for name in type(case.plugin.settings).model_fields)
            if isinstance(value, SecretStr)
        }
        assert set(case.secrets) <= marked

    def test_declare__settings_fields__have_titles(self, case: Case) -> None:
        fields = type(case.plugin.settings).model_fields
        assert [name for name, info in fields.items() if not info.title] == []

    def test_declare__defaults__are_consistent(self, case: Case) -> None:
        defaults = case.plugin.offering_defaults()
        assert len({component.key for component in defaults.components}) == len(defaults.components)
        assert defaults.order_form["type"] == "object"
        properties = defaults.order_form["properties"]
        assert set(defaults.order_form.get("required", ())) <= set(properties)
        for component in defaults.components:
            assert component.measured_per_unit >= 1
            assert component.product_type in {"compute", "storage", "public_link", "license", "network_ip"}

    def test_init__no_backend_needed__does_not_talk(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        def talk(*_: object, **__: object) -> None:
            raise AssertionError("a plugin must not talk when it is made")

        monkeypatch.setattr("socket.socket.connect", talk)
        monkeypatch.setattr("subprocess.Popen.__init__", talk)
        type(case.plugin)(case.plugin.settings)

    def test_init__settings_of_another_plugin__are_refused(self, case: Case) -> None:
        with pytest.raises(TypeError):
            type(case.plugin)(object())  # type: ignore[arg-type]

    def test_show__plugin_and_settings__hold_no_secret(self, case: Case) -> None:
        shown = f"{case.plugin!r} {case.plugin} {case.plugin.settings!r} {case.plugin.settings}"
        shown += case.plugin.settings.model_dump_json()
        assert [secret for secret in case.secrets if secret in shown] == []

    def test_settings__wrong_value_beside_a_secret__error_holds_no_secret(self, case: Case) -> None:
        settings = type(case.plugin.settings)
        given = case.plugin.settings.model_dump() | {"no_such_setting": 1}
        for name, value in given.items():
            if isinstance(value, SecretStr):
                given[name] = [value.get_secret_value()]  # of a wrong type as well
        with pytest.raises(ValidationError) as refused:
            settings.model_validate(given)
        assert [secret for secret in case.secrets if secret in str(refused.value)] == []

    def test_check_health__working_backend__is_not_broken(self, case: Case) -> None:
        health = case.plugin.check_health()
        assert isinstance(health, Health)
        assert health.severity is not Severity.BROKEN, health
        assert health.version


class Reaches(Contract):
    """For plugins with a backend that can be away."""

    def test_check_health__unreachable__says_so_and_does_not_raise(self, case: Case) -> None:
        assert case.unreachable is not None
        health = case.unreachable.check_health()
        assert health.severity is Severity.BROKEN
        assert [f for f in health.findings if f.severity is Severity.BROKEN and not f.advice] == []
        assert [secret for secret in case.secrets if secret in repr(health)] == []

    def test_each_verb__unreachable__raises_backend_unreachable_without_secrets(self, case: Case) -> None:
        plugin, resource = case.unreachable, case.resource()
        assert plugin is not None
        verbs: dict[str, Callable[[], object]] = {
            "ensure": lambda: plugin.ensure(resource),  # type: ignore[attr-defined]
            "remove": lambda: plugin.remove(resource),  # type: ignore[attr-defined]
            "observe": lambda: plugin.observe(resource),  # type: ignore[attr-defined]
        }
        optional: dict[str, dict[str, Callable[[], object]]] = {
            "pauses": {
                "pause": lambda: plugin.pause(resource),  # type: ignore[attr-defined]
                "resume": lambda: plugin.resume(resource),  # type: ignore[attr-defined]
            },
            "enforces_quota": {
                "enforce_quota": lambda: plugin.enforce_quota(  # type: ignore[attr-defined]
                    resource, [ComponentQuota(case.component, 1, locked=False)]
                )
            },
            "manages_members": {"set_members": lambda: plugin.set_members(resource)},  # type: ignore[attr-defined]
            "manages_accounts": {"ensure_account": lambda: plugin.ensure_account(case.member)},  # type: ignore[attr-defined]
            "ends_accounts": {
                "block_account": lambda: plugin.block_account(case.member),  # type: ignore[attr-defined]
                "remove_account": lambda: plugin.remove_account(case.member),  # type: ignore[attr-defined]
            },
            "manages_groups": {
                "ensure_group": lambda: plugin.ensure_group(Group(1, "p", "p", 300_001)),  # type: ignore[attr-defined]
                "remove_group": lambda: plugin.remove_group(Group(1, "p", "p", 300_001)),  # type: ignore[attr-defined]
            },
            "measures_usage": {"measure": lambda: plugin.measure([resource], "")},  # type: ignore[attr-defined]
            "imports": {"importable": lambda: plugin.importable()},  # type: ignore[attr-defined]  # noqa: PLW0108
        }
        for ability in plugin.abilities():
            verbs |= optional.get(ability, {})
        for name, verb in verbs.items():
            with pytest.raises(BackendUnreachable) as raised:
                verb()
            assert [secret for secret in case.secrets if secret in str(raised.value)] == [], name


class Provides(Contract):
    def test_ensure__new_resource__is_done_and_observed(self, case: Case) -> None:
        resource = case.provisioned()
        assert resource.backend_id
        assert case.plugin.observe(resource).presence is Presence.OK  # type: ignore[attr-defined]

    def test_ensure__asked_twice__answers_the_same(self, case: Case) -> None:
        resource = case.provisioned()
        again = [case.plugin.ensure(resource) for _ in range(2)]  # type: ignore[attr-defined]
        assert again[0] == again[1]
        assert isinstance(again[0], Done)
        assert again[0].backend_id == resource.backend_id

    def test_ensure__first_answer_lost__finds_the_same_thing(self, case: Case) -> None:
        # The worker died after the backend had done it: nothing of the answer was stored.
        resource = case.resource()
        outcome, with_answer = case.drive(case.plugin.ensure, resource)  # type: ignore[attr-defined]
        again, _ = case.drive(case.plugin.ensure, resource)  # type: ignore[attr-defined]
        assert isinstance(outcome, Done)
        assert isinstance(again, Done)
        assert again.backend_id == with_answer.backend_id

    def test_ensure__fresh_plugin_instance__finds_the_same_thing(self, case: Case) -> None:
        resource = case.provisioned()
        again = type(case.plugin)(case.plugin.settings).ensure(resource)  # type: ignore[attr-defined]
        assert isinstance(again, Done)
        assert again.backend_id == resource.backend_id

    def test_ensure__state_of_others__is_kept(self, case: Case) -> None:
        resource = case.provisioned(state={"note": "kept"})
        assert resource.state["note"] == "kept"

    def test_ensure__two_resources_of_one_name__are_two(self, case: Case) -> None:
        one, other = case.provisioned(name="Twin"), case.provisioned(name="Twin")
        assert one.backend_id != other.backend_id

    def test_observe__never_made__is_absent(self, case: Case) -> None:
        assert case.plugin.observe(case.resource()).presence is Presence.ABSENT  # type: ignore[attr-defined]

    def test_remove__absent__is_done(self, case: Case) -> None:
        assert isinstance(case.plugin.remove(case.resource()), Done)  # type: ignore[attr-defined]

    def test_remove__twice__is_done_and_absent(self, case: Case) -> None:
        resource = case.provisioned()
        outcome, resource = case.drive(case.plugin.remove, resource)  # type: ignore[attr-defined]
        assert isinstance(outcome, Done)
        assert isinstance(case.plugin.remove(resource), Done)  # type: ignore[attr-defined]
        assert case.plugin.observe(resource).presence is Presence.ABSENT  # type: ignore[attr-defined]

    def test_ensure__after_remove__makes_it_again(self, case: Case) -> None:
        resource = case.provisioned()
        _, resource = case.drive(case.plugin.remove, resource)  # type: ignore[attr-defined]
        resource = replace(resource, generation=resource.generation + 1)
        outcome, resource = case.drive(case.plugin.ensure, resource)  # type: ignore[attr-defined]
        assert isinstance(outcome, Done)
        assert case.plugin.observe(resource).presence is Presence.OK  # type: ignore[attr-defined]

    def test_ensure__personal_workspace__is_done(self, case: Case) -> None:
        resource = case.provisioned(organization=None, projects=())
        assert case.plugin.observe(resource).presence is Presence.OK  # type: ignore[attr-defined]

    @pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
    def test_ensure__hostile_names__are_harmless(self, case: Case, name: str) -> None:
        # `id` of its own: a backend must not mix up two organizations because their names look alike to it.
        resource = case.resource(
            name=name,
            organization=Ref(9001, "hostile", name),
            projects=(Ref(9002, "hostile", name),),
            members=(replace(case.member, full_name=name),),
        )
        neighbour = case.provisioned()
        outcome, resource = case.drive(case.plugin.ensure, resource)  # type: ignore[attr-defined]
        assert isinstance(outcome, Done), outcome
        assert "\n" not in outcome.backend_id
        assert case.plugin.observe(resource).presence is Presence.OK  # type: ignore[attr-defined]
        outcome, resource = case.drive(case.plugin.remove, resource)  # type: ignore[attr-defined]
        assert isinstance(outcome, Done), outcome
        assert case.plugin.observe(resource).presence is Presence.ABSENT  # type: ignore[attr-defined]
        assert case.plugin.observe(neighbour).presence is Presence.OK  # type: ignore[attr-defined]


class PausesContract(Contract):
    def test_pause__twice__is_paused(self, case: Case) -> None:
        resource = case.usable()
        for _ in range(2):
            outcome, resource = case.drive(case.plugin.pause, resource)  # type: ignore[attr-defined]
            assert isinstance(outcome, Done)
            assert case.plugin.observe(resource).presence is Presence.PAUSED  # type: ignore[attr-defined]

    def test_resume__twice__is_ok(self, case: Case) -> None:
        resource = case.usable()
        _, resource = case.drive(case.plugin.pause, resource)  # type: ignore[attr-defined]
        for _ in range(2):
            outcome, resource = case.drive(case.plugin.resume, resource)  # type: ignore[attr-defined]
            assert isinstance(outcome, Done)
            assert case.plugin.observe(resource).presence is Presence.OK  # type: ignore[attr-defined]

    def test_ensure__paused_resource__leaves_it_paused(self, case: Case) -> None:
        resource = case.usable()
        _, resource = case.drive(case.plugin.pause, resource)  # type: ignore[attr-defined]
        outcome = case.plugin.ensure(replace(resource, paused=True))  # type: ignore[attr-defined]
        assert isinstance(outcome, Done)
        assert case.plugin.observe(resource).presence is Presence.PAUSED  # type: ignore[attr-defined]

    def test_remove__paused__is_done(self, case: Case) -> None:
        resource = case.usable()
        _, resource = case.drive(case.plugin.pause, resource)  # type: ignore[attr-defined]
        outcome, resource = case.drive(case.plugin.remove, resource)  # type: ignore[attr-defined]
        assert isinstance(outcome, Done)
        assert case.plugin.observe(resource).presence is Presence.ABSENT  # type: ignore[attr-defined]


class QuotaContract(Contract):
    @pytest.mark.parametrize("available", [0, 3600, None])
    def test_enforce_quota__twice__is_the_same_as_once(self, case: Case, available: int | None) -> None:
        resource = case.usable()
        if "pauses" in case.plugin.abilities():
            case.drive(case.plugin.pause, resource)  # type: ignore[attr-defined]  # so that what was used stands still
        seen = []
        for _ in range(2):
            case.give(resource, available)
            seen.append(case.plugin.observe(resource).facts)  # type: ignore[attr-defined]
        assert seen[0] == seen[1]

    def test_enforce_quota__unknown_component_beside_it__changes_nothing(self, case: Case) -> None:
        resource = case.usable()
        if "pauses" in case.plugin.abilities():
            case.drive(case.plugin.pause, resource)  # type: ignore[attr-defined]
        ours = ComponentQuota(case.component, 3600, locked=False)
        seen = []
        for quota in ([ours], [ours, ComponentQuota("no-such-component", 0, locked=True)]):
            assert isinstance(case.plugin.enforce_quota(resource, quota), Done)  # type: ignore[attr-defined]
            seen.append(case.plugin.observe(resource).facts)  # type: ignore[attr-defined]
        assert seen[0] == seen[1]

    def test_enforce_quota__never_made__is_refused(self, case: Case) -> None:
        quota = [ComponentQuota(case.component, 1, locked=False)]
        outcome = case.plugin.enforce_quota(case.resource(), quota)  # type: ignore[attr-defined]
        assert isinstance(outcome, Refused)


class MembersContract(Contract):
    def test_set_members__twice_then_none__is_exact(self, case: Case) -> None:
        resource = case.usable()
        for members in ((case.member,), (case.member,), ()):
            outcome = case.plugin.set_members(replace(resource, members=members))  # type: ignore[attr-defined]
            assert isinstance(outcome, Done)

    def test_set_members__person_without_account__is_left_out(self, case: Case) -> None:
        resource = case.usable()
        newcomer = Member(999, "new@example.org", "New", "")
        outcome = case.plugin.set_members(replace(resource, members=(newcomer,)))  # type: ignore[attr-defined]
        assert isinstance(outcome, Done)

    @pytest.mark.parametrize("username", ["a b", "x; rm -rf ~", "-rf", "a\nb", "ä", "a" * 300])
    def test_set_members__hostile_username__is_refused(self, case: Case, username: str) -> None:
        resource = case.usable()
        hostile = replace(case.member, username=username)
        outcome = case.plugin.set_members(replace(resource, members=(hostile,)))  # type: ignore[attr-defined]
        assert isinstance(outcome, Refused)


class AccountsContract(Contract):
    def test_ensure_account__twice__is_the_same_username(self, case: Case) -> None:
        member = Member(71, "grace.hopper@example.org", "Grace Hopper")
        first, again = (case.plugin.ensure_account(member) for _ in range(2))  # type: ignore[attr-defined]
        assert isinstance(first, Done)
        assert first.backend_id
        assert first == again

    def test_ensure_account__two_people_of_one_mail_name__are_two(self, case: Case) -> None:
        names = set()
        for person_id, email in ((72, "alan@one.example.org"), (73, "alan@two.example.org")):
            outcome = case.plugin.ensure_account(Member(person_id, email, "Alan"))  # type: ignore[attr-defined]
            assert isinstance(outcome, Done)
            names.add(outcome.backend_id)
        assert len(names) == 2

    @pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
    def test_ensure_account__hostile_person__is_harmless(self, case: Case, name: str) -> None:
        member = Member(8000 + HOSTILE_NAMES.index(name), f"{name}@example.org", name)
        outcome = case.plugin.ensure_account(member)  # type: ignore[attr-defined]
        assert isinstance(outcome, Done)
        assert outcome.backend_id.isascii()
        assert outcome.backend_id.isalnum()

    def test_ensure_account__name_and_number_told__are_borne_or_refused(self, case: Case) -> None:
        member = Member(74, "emmy@example.org", "Emmy Noether", "enoether", uid=200_074)
        first, again = (case.plugin.ensure_account(member) for _ in range(2))  # type: ignore[attr-defined]
        assert first == again
        assert isinstance(first, Refused) or (isinstance(first, Done) and first.backend_id == "enoether")

    def test_ensure_account__name_of_somebody_else__is_refused(self, case: Case) -> None:
        first = case.plugin.ensure_account(Member(75, "one@example.org", "One"))  # type: ignore[attr-defined]
        assert isinstance(first, Done)
        thief = Member(76, "two@example.org", "Two", first.backend_id)
        assert isinstance(case.plugin.ensure_account(thief), Refused)  # type: ignore[attr-defined]
        again = case.plugin.ensure_account(Member(75, "one@example.org", "One"))  # type: ignore[attr-defined]
        assert again == first

    @pytest.mark.parametrize("username", ["a b", "x; rm -rf ~", "-rf", "a\nb", "ä", "a" * 300, "a,ou=x", "a)(uid=*"])
    def test_ensure_account__hostile_username__is_refused(self, case: Case, username: str) -> None:
        hostile = Member(77, "x@example.org", "X", username, uid=200_077)
        assert isinstance(case.plugin.ensure_account(hostile), Refused)  # type: ignore[attr-defined]


class EndsAccountsContract(Contract):
    def made(self, case: Case) -> Member:
        number = 90_000 + next(_ids)
        member = Member(number, f"p{number}@example.org", "Lise Meitner", f"lm{number}", uid=200_000 + number)
        outcome = case.plugin.ensure_account(member)  # type: ignore[attr-defined]
        assert isinstance(outcome, Done), outcome
        return member

    def test_block_account__twice__is_done(self, case: Case) -> None:
        member = replace(self.made(case), blocked=True)
        for _ in range(2):
            assert isinstance(case.plugin.block_account(member), Done)  # type: ignore[attr-defined]

    def test_block_account__not_there__is_done(self, case: Case) -> None:
        nobody = Member(89_001, "x@example.org", "X", "nobodyhere", blocked=True)
        assert isinstance(case.plugin.block_account(nobody), Done)  # type: ignore[attr-defined]

    def test_remove_account__twice__is_done(self, case: Case) -> None:
        member = self.made(case)
        for _ in range(2):
            assert isinstance(case.plugin.remove_account(member), Done)  # type: ignore[attr-defined]

    def test_ensure_account__after_block_and_after_removal__is_the_same_again(self, case: Case) -> None:
        member = self.made(case)
        for verb in (case.plugin.block_account, case.plugin.remove_account):  # type: ignore[attr-defined]
            assert isinstance(verb(replace(member, blocked=True)), Done)
            again = case.plugin.ensure_account(member)  # type: ignore[attr-defined]
            assert isinstance(again, Done)
            assert again.backend_id == member.username

    def test_block_account__of_one__leaves_the_others(self, case: Case) -> None:
        one, other = self.made(case), self.made(case)
        before = case.plugin.ensure_account(other)  # type: ignore[attr-defined]
        case.plugin.remove_account(one)  # type: ignore[attr-defined]
        assert case.plugin.ensure_account(other) == before  # type: ignore[attr-defined]


class GroupsContract(Contract):
    def group(self, **changes: Any) -> Group:
        number = 70_000 + next(_ids)
        fields: dict[str, Any] = {
            "project_id": number,
            "slug": f"project-{number}",
            "name": f"g{number}",
            "gid": 300_000 + number,
            "usernames": ("ada",),
        }
        return Group(**(fields | changes))

    def test_ensure_group__twice__is_the_same(self, case: Case) -> None:
        group = self.group()
        first, again = (case.plugin.ensure_group(group) for _ in range(2))  # type: ignore[attr-defined]
        assert first == again == Done(backend_id=group.name)

    def test_ensure_group__nobody_in_it__is_done(self, case: Case) -> None:
        group = self.group()
        for names in (("ada", "grace"), ()):
            outcome = case.plugin.ensure_group(replace(group, usernames=names))  # type: ignore[attr-defined]
            assert isinstance(outcome, Done)

    def test_ensure_group__name_or_number_of_another_project__is_refused(self, case: Case) -> None:
        group = self.group()
        assert isinstance(case.plugin.ensure_group(group), Done)  # type: ignore[attr-defined]
        for thief in (self.group(name=group.name), self.group(gid=group.gid)):
            assert isinstance(case.plugin.ensure_group(thief), Refused)  # type: ignore[attr-defined]

    @pytest.mark.parametrize("name", ["a b", "x; rm -rf ~", "-rf", "a\nb", "ä", "a" * 300, "a,ou=x", ""])
    def test_ensure_group__hostile_name_or_member__is_refused(self, case: Case, name: str) -> None:
        assert isinstance(case.plugin.ensure_group(self.group(name=name)), Refused)  # type: ignore[attr-defined]
        hostile = self.group(usernames=("ada", name))
        assert isinstance(case.plugin.ensure_group(hostile), Refused)  # type: ignore[attr-defined]

    def test_remove_group__twice_then_made_again__is_done(self, case: Case) -> None:
        group = self.group()
        assert isinstance(case.plugin.ensure_group(group), Done)  # type: ignore[attr-defined]
        for _ in range(2):
            assert isinstance(case.plugin.remove_group(group), Done)  # type: ignore[attr-defined]
        assert case.plugin.ensure_group(group) == Done(backend_id=group.name)  # type: ignore[attr-defined]


class UsageContract(Contract):
    def measured(self, case: Case, resource: DesiredResource, mark: str = "") -> tuple[list[UsageRecord], str]:
        batch = case.plugin.measure([resource], mark)  # type: ignore[attr-defined]
        return list(batch.records), batch.mark

    def test_measure__nothing_used__is_empty(self, case: Case) -> None:
        records, mark = self.measured(case, case.provisioned())
        assert records == []
        assert mark

    def test_measure__use_came_to_an_end__is_told_with_its_person(self, case: Case) -> None:
        resource = case.usable()
        assert case.use is not None
        case.use(resource, case.member.username)
        records, _ = self.measured(case, resource)
        assert records
        for record in records:
            assert record.resource_id == resource.id
            assert record.component == case.component
            assert record.amount > 0
            assert record.period_start < record.period_end
            assert record.period_start.utcoffset() == timedelta(0)
        assert sum(level.values()) > 0 if (level := levels(records)) else False

    def test_measure__twice_from_one_mark__tells_the_same(self, case: Case) -> None:
        resource = case.usable()
        assert case.use is not None
        case.use(resource, case.member.username)
        first, mark = self.measured(case, resource)
        again, _ = self.measured(case, resource)
        assert first == again
        later, _ = self.measured(case, resource, mark)
        assert {r.id for r in later} <= {r.id for r in first}

    def test_measure__use_after_the_mark__is_not_lost(self, case: Case) -> None:
        resource = case.usable()
        assert case.use is not None
        case.use(resource, case.member.username)
        early, mark = self.measured(case, resource)
        case.use(resource, case.member.username)
        late, _ = self.measured(case, resource, mark)
        whole, _ = self.measured(case, resource)
        assert levels([*early, *late]) == levels(whole)
        assert sum(levels(whole).values()) > sum(levels(early).values())

    def test_measure__use_that_goes_on__is_told_now_and_grows(self, case: Case) -> None:
        resource = case.usable()
        assert case.begin_use is not None
        case.begin_use(resource, case.member.username)
        deadline = time.monotonic() + 60
        early, mark = self.measured(case, resource)
        while not early and time.monotonic() < deadline:
            time.sleep(0.2)
            early, mark = self.measured(case, resource, mark)
        late: list[UsageRecord] = []
        while sum(levels([*early, *late]).values()) == sum(levels(early).values()) and time.monotonic() < deadline:
            time.sleep(0.2)
            more, mark = self.measured(case, resource, mark)
            late += more
        assert sum(levels([*early, *late]).values()) > sum(levels(early).values()) > 0
        contents: dict[str, UsageRecord] = {}
        for record in [*early, *late]:
            assert contents.setdefault(record.id, record) == record

    def test_measure__after_remove__still_tells_all(self, case: Case) -> None:
        resource = case.usable()
        assert case.use is not None
        case.use(resource, case.member.username)
        before, _ = self.measured(case, resource)
        _, resource = case.drive(case.plugin.remove, resource)  # type: ignore[attr-defined]
        after, _ = self.measured(case, resource)
        assert levels(after).keys() == levels(before).keys()
        assert all(levels(after)[scope] >= amount for scope, amount in levels(before).items())

    def test_measure__use_of_another_resource__is_not_told(self, case: Case) -> None:
        resource, other = case.provisioned(), case.usable()
        assert case.use is not None
        case.use(other, case.member.username)
        records, _ = self.measured(case, resource)
        assert records == []

    @pytest.mark.parametrize("mark", ["nonsense", "-1", "\x00", "9" * 400])
    def test_measure__mark_of_somebody_else__begins_at_the_beginning(self, case: Case, mark: str) -> None:
        resource = case.usable()
        assert case.use is not None
        case.use(resource, case.member.username)
        records, _ = self.measured(case, resource, mark)
        assert levels(records) == levels(self.measured(case, resource)[0])


class ImportsContract(Contract):
    def taken_over(self, case: Case) -> DesiredResource:
        """What was there, as the resource that it becomes."""
        assert case.found_there is not None
        backend_id = case.found_there()
        there = {thing.backend_id: thing for thing in case.plugin.importable()}  # type: ignore[attr-defined]
        thing = there[backend_id]
        limits = {**case.limits, **thing.limits}
        return case.resource(
            name=thing.name, backend_id=thing.backend_id, state=thing.state, form=dict(thing.form), limits=limits
        )

    def test_importable__something_is_there__tells_it_and_not_what_bursar_made(self, case: Case) -> None:
        assert case.found_there is not None
        ours = case.provisioned()
        theirs = case.found_there()
        there = {thing.backend_id: thing for thing in case.plugin.importable()}  # type: ignore[attr-defined]
        assert theirs in there
        assert ours.backend_id not in there
        assert there[theirs].name
        assert there[theirs].id == 0
        assert all(type(limit) is int and limit >= 0 for limit in there[theirs].limits.values())

    def test_take_over__before_anything_else__is_observed(self, case: Case) -> None:
        assert case.plugin.observe(self.taken_over(case)).presence is Presence.OK  # type: ignore[attr-defined]

    def test_take_over__ensured_twice__is_the_same_thing(self, case: Case) -> None:
        resource = self.taken_over(case)
        for _ in range(2):
            outcome, after = case.drive(case.plugin.ensure, resource)  # type: ignore[attr-defined]
            assert isinstance(outcome, Done), outcome
            assert after.backend_id == resource.backend_id
        assert case.plugin.observe(resource).presence is Presence.OK  # type: ignore[attr-defined]

    def test_take_over__members_and_quota__can_be_set_at_once(self, case: Case) -> None:
        resource = self.taken_over(case)
        if "manages_members" in case.plugin.abilities():
            assert isinstance(case.plugin.set_members(resource), Done)  # type: ignore[attr-defined]
        if "enforces_quota" in case.plugin.abilities():
            case.give(resource, 3600)
        assert case.plugin.observe(resource).presence is Presence.OK  # type: ignore[attr-defined]

    def test_take_over__removed__is_absent_and_told_no_more(self, case: Case) -> None:
        resource = self.taken_over(case)
        outcome, resource = case.drive(case.plugin.remove, resource)  # type: ignore[attr-defined]
        assert isinstance(outcome, Done), outcome
        assert case.plugin.observe(resource).presence is Presence.ABSENT  # type: ignore[attr-defined]
        assert resource.backend_id not in {t.backend_id for t in case.plugin.importable()}  # type: ignore[attr-defined]


class ActionsContract(Contract):
    def test_actions__each__has_key_and_title_once(self, case: Case) -> None:
        specs = case.plugin.actions(case.usable())  # type: ignore[attr-defined]
        assert all(spec.key and spec.title for spec in specs)
        assert len({spec.key for spec in specs}) == len(specs)

    def test_act__unknown_action__is_refused(self, case: Case) -> None:
        assert isinstance(case.plugin.act(case.usable(), "no-such-action", {}), Refused)  # type: ignore[attr-defined]


def levels(records: Sequence[UsageRecord]) -> dict[str, int]:
    """What these records say was used, per scope, as the ledger reads them: the latest level, or the sum."""
    found: dict[str, int] = {}
    unique = {record.id: record for record in records}
    for record in sorted(unique.values(), key=lambda r: (r.period_end, r.id)):
        found[record.scope] = record.amount if record.absolute else found.get(record.scope, 0) + record.amount
    return found
