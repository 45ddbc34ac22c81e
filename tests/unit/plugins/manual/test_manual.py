"""The plugin behind which a person works: what was asked against what was said."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bursar.plugins.contract import DesiredResource, Done, Member, NeedsAction, Presence, Ref, Severity
from bursar.plugins.manual.plugin import ManualPlugin, ManualSettings, confirm, said

RESOURCE = DesiredResource(
    id=1,
    slug="licence",
    name="Matlab",
    offering_slug="licences",
    organization=Ref(1, "north", "North"),
    projects=(),
    owner=None,
    plan="standard",
    limits={"seats": 3},
    form={"purpose": "teaching"},
    members=(Member(1, "ada@example.org", "Ada"),),
)


@pytest.fixture
def plugin() -> ManualPlugin:
    return ManualPlugin(ManualSettings(instructions="Use the vendor's portal.", contact="desk@example.org"))


def told(resource: DesiredResource, **changes: Any) -> DesiredResource:
    return replace(resource, state=confirm(resource.state, resource.generation, **changes))


def test_ensure__nobody_said_anything__asks_with_all_that_is_needed(plugin: ManualPlugin) -> None:
    assert plugin.ensure(RESOURCE) == NeedsAction(
        "Set up “Matlab”.\n"
        "Plan: standard.\n"
        "seats: 3.\n"
        "purpose: teaching.\n"
        "Members: Ada <ada@example.org>.\n"
        "Use the vendor's portal.\n"
        "Contact: desk@example.org.\n"
        "Then confirm it here."
    )


def test_ensure__confirmed__is_done_with_what_was_said(plugin: ManualPlugin) -> None:
    resource = told(RESOURCE, backend_id="L-17", access={"Portal": "https://licences.example.org"})
    assert plugin.ensure(resource) == Done("L-17", resource.state, {"Portal": "https://licences.example.org"})


def test_ensure__next_generation__asks_again_until_it_is_confirmed(plugin: ManualPlugin) -> None:
    resource = replace(told(RESOURCE, backend_id="L-17"), generation=2, limits={"seats": 5})
    outcome = plugin.ensure(resource)
    assert isinstance(outcome, NeedsAction)
    assert outcome.what.startswith("Change “Matlab” (L-17).\nPlan: standard.\nseats: 5.\n")
    done = plugin.ensure(told(resource))
    assert isinstance(done, Done)
    assert done.backend_id == "L-17"


def test_confirm__older_generation_than_now_wanted__does_not_count(plugin: ManualPlugin) -> None:
    # The person looked at generation 1 while generation 2 was ordered.
    state = confirm({}, 1, "L-17")
    assert isinstance(plugin.ensure(replace(RESOURCE, generation=2, state=state)), NeedsAction)


def test_confirm__late_word_on_an_old_generation__takes_nothing_back() -> None:
    state = confirm(confirm({}, 3, "L-17"), 2)
    assert said(state).done_generation == 3


def test_confirm__other_notes__are_kept_and_nothing_is_changed_in_place() -> None:
    before = {"note": "x", "manual": {"done_generation": 1, "presence": "ok", "backend_id": "L", "access": {"A": "b"}}}
    frozen = json.dumps(before)
    after = confirm(before, 2, presence=Presence.PAUSED)
    assert json.dumps(before) == frozen
    assert after == {
        "note": "x",
        "manual": {"done_generation": 2, "presence": "paused", "backend_id": "L", "access": {"A": "b"}},
    }
    assert json.loads(json.dumps(after)) == after


@pytest.mark.parametrize("presence", [Presence.CREATING, Presence.FAILED])
def test_confirm__half_made__is_a_mistake(presence: Presence) -> None:
    with pytest.raises(ValueError, match="ok, paused or absent"):
        confirm({}, 1, presence=presence)


def test_pause__at_each_step__follows_what_was_said_last(plugin: ManualPlugin) -> None:
    resource = told(RESOURCE, backend_id="L-17")
    outcome = plugin.pause(resource)
    assert isinstance(outcome, NeedsAction)
    assert outcome.what.startswith("Pause “Matlab” (L-17).\n")
    resource = told(resource, presence=Presence.PAUSED)
    assert isinstance(plugin.pause(resource), Done)
    assert plugin.observe(resource).presence is Presence.PAUSED
    assert isinstance(plugin.resume(resource), NeedsAction)
    resource = told(resource, presence=Presence.OK)
    assert isinstance(plugin.resume(resource), Done)
    assert isinstance(plugin.pause(resource), NeedsAction)


def test_remove__was_made__asks_until_it_is_said_to_be_gone(plugin: ManualPlugin) -> None:
    resource = told(RESOURCE, backend_id="L-17")
    outcome = plugin.remove(resource)
    assert isinstance(outcome, NeedsAction)
    assert outcome.what.startswith("Remove “Matlab” (L-17).\n")
    resource = told(resource, presence=Presence.ABSENT)
    assert isinstance(plugin.remove(resource), Done)


def test_remove__never_made__is_done(plugin: ManualPlugin) -> None:
    assert isinstance(plugin.remove(RESOURCE), Done)


def test_ensure__name_with_lines__cannot_write_a_task_of_its_own(plugin: ManualPlugin) -> None:
    hostile = "x”.\nThen confirm it here.\n\x1b[2JGive eve root"
    outcome = plugin.ensure(replace(RESOURCE, name=hostile, form={hostile: hostile}, plan=hostile))
    assert isinstance(outcome, NeedsAction)
    lines = outcome.what.split("\n")
    assert len(lines) == 8
    assert lines[-1] == "Then confirm it here."
    assert "\x1b" not in outcome.what


@pytest.mark.parametrize("manual", [None, "ok", [], {"done_generation": -1}, {"presence": "maybe"}, {"access": 7}])
def test_ensure__unreadable_state__is_as_if_nothing_was_said(plugin: ManualPlugin, manual: Any) -> None:
    assert isinstance(plugin.ensure(replace(RESOURCE, state={"manual": manual})), NeedsAction)


def test_check_health__nobody_named__warns() -> None:
    assert ManualPlugin(ManualSettings()).check_health().severity is Severity.WARNING
    assert ManualPlugin(ManualSettings(contact="x")).check_health().severity is Severity.OK


@pytest.mark.parametrize(
    ("left", "paused", "verb"),
    [
        (Presence.OK, True, "Pause"),
        (Presence.PAUSED, False, "Resume"),
        (Presence.PAUSED, True, "Change"),
        (Presence.OK, False, "Change"),
        (Presence.ABSENT, True, "Set up"),
        (Presence.ABSENT, False, "Set up"),
    ],
)
def test_ensure__next_generation__names_what_differs(
    plugin: ManualPlugin, left: Presence, verb: str, *, paused: bool
) -> None:
    state = confirm({}, 1, "L-17", presence=left)
    outcome = plugin.ensure(replace(RESOURCE, generation=2, paused=paused, state=state))
    assert isinstance(outcome, NeedsAction)
    assert outcome.what.startswith(f"{verb} “Matlab” (L-17).\n")
