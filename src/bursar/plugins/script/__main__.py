"""Try a backend of own commands without a server: python -m bursar.plugins.script SETTINGS.json VERB [DOCUMENT.json]

SETTINGS.json holds the settings of the backend, DOCUMENT.json what the verb is told (`resource`, `resources`, `quota`,
`member`, `mark`); what is missing in it is filled in with an example. Prints what the command was told, what it answered
as Bursar understands it, and what it printed for people. Ends with 0 when the answer is one, with 1 when it is not.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from bursar.plugins import wire
from bursar.plugins.contract import (
    BackendUnreachable,
    Busy,
    ComponentQuota,
    DesiredResource,
    Done,
    Health,
    Member,
    NeedsAction,
    Outcome,
    Ref,
    Refused,
    found,
)
from bursar.plugins.script.plugin import VERBS, ScriptPlugin
from bursar.plugins.script.runner import shown
from bursar.plugins.script.settings import ScriptSettings

MEMBER: Final = Member(1, "ada@example.org", "Ada Lovelace", "ada")
RESOURCE: Final = replace(
    found("", "A resource to try with", {"cpu": 100}),
    id=1,
    slug="to-try-with",
    offering_slug="workbench",
    organization=Ref(1, "north", "University of the North"),
    projects=(Ref(1, "sea-ice", "Sea ice"),),
    owner=MEMBER,
    plan="standard",
    members=(MEMBER,),
)
QUOTA: Final = (ComponentQuota("cpu", 360_000, locked=False, reported=0),)


def main(words: list[str]) -> int:
    if len(words) not in (2, 3) or words[1] not in VERBS:
        return _say(f"{__doc__}\nVerbs: {', '.join(VERBS)}", code=2)
    try:
        plugin = ScriptPlugin(ScriptSettings.model_validate_json(Path(words[0]).read_bytes()))
        told = json.loads(Path(words[2]).read_bytes()) if len(words) == 3 else {}
        if not isinstance(told, dict):
            return _say(f"{words[2]}: it holds an object", code=2)
        ask = _asking(plugin, words[1], told)
    except ValidationError as error:
        return _say(f"{words[0]}: {wire.where_and_why(error)}", code=2)
    except (OSError, ValueError) as error:
        return _say(str(error), code=2)
    if not getattr(plugin.settings, words[1]):
        return _say(f"{words[0]} names no command for {words[1]}", code=2)
    try:
        answer, trouble = ask(), ""
    except BackendUnreachable as error:
        answer, trouble = None, str(error)
    for output in plugin.outputs:
        _say(f"$ {shown(list(output.command))}    # ended with {output.exit_code} after {output.seconds} s")
        if output.text:
            _say(output.text)
    if trouble:
        return _say(f"No answer: {trouble}", code=1)
    _say(json.dumps(_told(answer), indent=2, ensure_ascii=False))
    return 1 if isinstance(answer, Health) and answer.severity == "broken" else 0


def _asking(plugin: ScriptPlugin, verb: str, told: Mapping[str, Any]) -> Callable[[], Any]:
    """raises   ValueError for a document that does not fit"""
    resource = wire.load(DesiredResource, {**wire.dump(RESOURCE), **told.get("resource", {})})
    if verb == "health":
        return plugin.check_health
    if verb == "importable":
        return plugin.importable
    if verb == "ensure_account":
        member = wire.load(Member, {**wire.dump(replace(MEMBER, username="")), **told.get("member", {})})
        return lambda: plugin.ensure_account(member)
    if verb == "enforce_quota":
        quota = wire.load(list[ComponentQuota], told["quota"]) if "quota" in told else list(QUOTA)
        return lambda: plugin.enforce_quota(resource, quota)
    if verb == "measure":
        resources = wire.load(list[DesiredResource], told["resources"]) if "resources" in told else [resource]
        return lambda: plugin.measure(resources, str(told.get("mark", "")))
    asked: Callable[[DesiredResource], Any] = getattr(plugin, verb)
    return lambda: asked(resource)


def _told(answer: Any) -> Any:
    if isinstance(answer, Done | Busy | NeedsAction | Refused):
        outcome: Outcome = answer
        return wire.dump_answer(outcome)
    return wire.dump(answer, list[DesiredResource] if isinstance(answer, list) else None)


def _say(text: str, *, code: int = 0) -> int:
    (sys.stderr if code else sys.stdout).write(f"{text}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
