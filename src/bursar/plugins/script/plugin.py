"""A provider's own commands as a backend; the README beside this file says what each is asked and answers."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from bursar import __version__
from bursar.kernel.i18n import N_
from bursar.plugins import wire
from bursar.plugins.contract import (
    BackendSettings,
    BackendUnreachable,
    Billing,
    Busy,
    ComponentQuota,
    ComponentSpec,
    DesiredResource,
    Done,
    Finding,
    Group,
    Health,
    Member,
    Observation,
    Outcome,
    Plugin,
    Refused,
    Severity,
    UsageBatch,
    found,
)
from bursar.plugins.script.runner import Runner, TemporaryFailure
from bursar.plugins.script.settings import ScriptSettings

T = TypeVar("T")

PROTOCOL_VERSION: Final = 1
RETRY_SECONDS: Final = 30
RETRY_SECONDS_MAX: Final = 86_400
BACKEND_ID_LENGTH_MAX: Final = 255
IMPORTABLE_MAX: Final = 5_000
MARK_LENGTH_MAX: Final = 10_000
MESSAGE_LENGTH_MAX: Final = 1_000

VERBS_OF_ABILITY: Final[Mapping[str, tuple[str, ...]]] = {
    "provisions": ("ensure", "remove", "observe"),
    "pauses": ("pause", "resume"),
    "enforces_quota": ("enforce_quota",),
    "manages_accounts": ("ensure_account",),
    "ends_accounts": ("block_account", "remove_account"),
    "manages_groups": ("ensure_group", "remove_group"),
    "manages_members": ("set_members",),
    "measures_usage": ("measure",),
    "imports": ("importable",),
}
VERBS: Final = (*(verb for verbs in VERBS_OF_ABILITY.values() for verb in verbs), "health")
# What a command may put on a command line or into a path of its own without care.
_USERNAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class ScriptPlugin(Plugin):
    """Each verb is a command of the provider's; an ability is there once its commands are named."""

    key: ClassVar[str] = "script"
    title: ClassVar[str] = N_("Own commands")
    summary: ClassVar[str] = N_("Programs of the provider's own: each is given a JSON document and answers with one.")
    version: ClassVar[str] = __version__
    Settings: ClassVar[type[BackendSettings]] = ScriptSettings
    settings: ScriptSettings
    default_components: ClassVar[Sequence[ComponentSpec]] = (
        ComponentSpec("cpu", N_("CPU"), N_("core-hours"), Billing.USAGE, "compute", N_("core-seconds"), 3600),
    )

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        self._runner = Runner(self.settings)
        self.outputs = self._runner.outputs

    def abilities(self) -> tuple[str, ...]:
        return tuple(
            ability
            for ability, verbs in VERBS_OF_ABILITY.items()
            if all(getattr(self.settings, verb) for verb in verbs)
        )

    # ---------------------------------------------------------------------------------------------------------- health

    def check_health(self) -> Health:
        """What the command to test says; without one, whether each command could be started."""
        broken = tuple(self._program_findings())
        if broken or not self.settings.health:
            able = ", ".join(verb for verb in VERBS if getattr(self.settings, verb))
            fine = Finding(Severity.OK, N_("Commands"), f"Each can be started: {able}.")
            return Health(broken or (fine,), version="" if broken else self.version)
        try:
            health = self._load("health", Health, self._asked("health"))
        except TemporaryFailure as busy:
            return Health((Finding(Severity.WARNING, "health", str(busy) or "The command asks for patience."),))
        except BackendUnreachable as error:
            advice = N_("Run the command by hand on this machine, and look at what it prints.")
            return Health((Finding(Severity.BROKEN, "health", str(error), advice),))
        return health if health.version else replace(health, version=self.version)

    def _program_findings(self) -> list[Finding]:
        findings = []
        if not Path(self.settings.folder).is_dir():
            advice = N_("Make the folder, or name another one in the settings.")
            findings.append(
                Finding(Severity.BROKEN, N_("Working folder"), f"{self.settings.folder} is no folder here.", advice)
            )
        for verb in VERBS:
            command: list[str] = getattr(self.settings, verb)
            if not command:
                continue
            if not Path(command[0]).is_file():
                findings.append(
                    Finding(
                        Severity.BROKEN, verb, f"{command[0]} is not there.", N_("Correct the path in the settings.")
                    )
                )
            elif not os.access(command[0], os.X_OK):
                advice = f"chmod +x {command[0]}"
                findings.append(Finding(Severity.BROKEN, verb, f"{command[0]} may not be executed.", advice))
        return findings

    # ------------------------------------------------------------------------------------------------------ provisions

    def ensure(self, resource: DesiredResource) -> Outcome:
        """What the command does not say again of the resource's state and backend id stays as it was."""
        answer = self._outcome("ensure", resource=resource)
        if isinstance(answer, Done):
            answer = replace(
                answer,
                backend_id=answer.backend_id or resource.backend_id,
                state={**resource.state, **answer.state},
            )
            if not answer.backend_id:
                raise BackendUnreachable("ensure: the answer is not one: backend_id is missing.")
        return answer

    def remove(self, resource: DesiredResource) -> Outcome:
        return self._outcome("remove", resource=resource)

    def observe(self, resource: DesiredResource) -> Observation:
        try:
            return self._load("observe", Observation, self._asked("observe", resource=resource))
        except TemporaryFailure as busy:
            raise _not_now("observe", busy) from None

    # --------------------------------------------------------------------------------------------- pause, quota, people

    def pause(self, resource: DesiredResource) -> Outcome:
        return self._outcome("pause", resource=resource)

    def resume(self, resource: DesiredResource) -> Outcome:
        return self._outcome("resume", resource=resource)

    def enforce_quota(self, resource: DesiredResource, quota: Sequence[ComponentQuota]) -> Outcome:
        return self._outcome("enforce_quota", resource=resource, quota=list(quota))

    def ensure_account(self, member: Member) -> Outcome:
        if member.username and not _USERNAME.fullmatch(member.username):
            return _no_username()
        answer = self._outcome("ensure_account", member=member)
        if isinstance(answer, Done) and not _USERNAME.fullmatch(answer.backend_id):
            raise BackendUnreachable("ensure_account: the answer is not one: backend_id is no user name.")
        return answer

    def block_account(self, member: Member) -> Outcome:
        return self._about_account("block_account", member)

    def remove_account(self, member: Member) -> Outcome:
        return self._about_account("remove_account", member)

    def _about_account(self, verb: str, member: Member) -> Outcome:
        return self._outcome(verb, member=member) if _USERNAME.fullmatch(member.username) else _no_username()

    def ensure_group(self, group: Group) -> Outcome:
        return self._about_group("ensure_group", group)

    def remove_group(self, group: Group) -> Outcome:
        return self._about_group("remove_group", group)

    def _about_group(self, verb: str, group: Group) -> Outcome:
        if not all(_USERNAME.fullmatch(name) for name in (group.name, *group.usernames)):
            return _no_username()
        return self._outcome(verb, group=group)

    def set_members(self, resource: DesiredResource) -> Outcome:
        """Names that could mean something else on a command line or in a path never reach the command."""
        impossible = [m for m in resource.members if m.username and not _USERNAME.fullmatch(m.username)]
        if impossible:
            people = ", ".join(str(member.person_id) for member in impossible)
            return Refused(f"The local user name of these people is none that a command is given: {people}.")
        return self._outcome("set_members", resource=resource)

    # ----------------------------------------------------------------------------------------------------------- usage

    def measure(self, resources: Sequence[DesiredResource], mark: str) -> UsageBatch:
        try:
            batch = self._load("measure", UsageBatch, self._asked("measure", resources=list(resources), mark=mark))
        except TemporaryFailure as busy:
            raise _not_now("measure", busy) from None
        known = {resource.id for resource in resources}
        ids: set[str] = set()
        for index, record in enumerate(batch.records):
            where = f"measure: the answer is not one: records.{index}"
            if record.resource_id not in known:
                raise BackendUnreachable(f"{where}: its resource was not asked for.")
            if not record.id or record.id in ids:
                raise BackendUnreachable(f"{where}: each needs an id of its own.")
            ids.add(record.id)
            if record.period_start.utcoffset() != timedelta(0) or record.period_end.utcoffset() != timedelta(0):
                raise BackendUnreachable(f"{where}: its times are to be in UTC, such as 2026-05-04T10:00:00Z.")
            if record.period_end <= record.period_start:
                raise BackendUnreachable(f"{where}: it ends before it begins.")
            if record.amount < 0:
                raise BackendUnreachable(f"{where}: its amount is less than nothing.")
        if len(batch.mark) > MARK_LENGTH_MAX:
            raise BackendUnreachable(f"measure: the answer is not one: mark: at most {MARK_LENGTH_MAX} characters.")
        return batch

    # ---------------------------------------------------------------------------------------------------------- import

    def importable(self) -> Sequence[DesiredResource]:
        """What the command lists under `resources`: of each backend_id and name, and limits, form and state where known."""
        try:
            answer = self._asked("importable")
        except TemporaryFailure as busy:
            raise _not_now("importable", busy) from None
        listed = answer.get("resources") if isinstance(answer, Mapping) else None
        if not isinstance(listed, list) or len(listed) > IMPORTABLE_MAX:
            raise BackendUnreachable(
                f"importable: the answer is not one: resources is a list of at most {IMPORTABLE_MAX}."
            )
        there: dict[str, DesiredResource] = {}
        for index, item in enumerate(listed):
            where = f"importable: the answer is not one: resources.{index}"
            if not isinstance(item, Mapping):
                raise BackendUnreachable(f"{where}: it is an object.")
            thing = self._loaded(where, DesiredResource, {**wire.dump(found("", "")), **item, "id": 0})
            if not 0 < len(thing.backend_id) <= BACKEND_ID_LENGTH_MAX or thing.backend_id in there:
                raise BackendUnreachable(f"{where}: each needs a backend_id of its own.")
            there[thing.backend_id] = thing
        return list(there.values())

    # ---------------------------------------------------------------------------------------------------------- asking

    def _asked(self, verb: str, **told: Any) -> Any:
        """raises   TemporaryFailure; BackendUnreachable"""
        kinds = {"quota": list[ComponentQuota], "resources": list[DesiredResource]}
        document: dict[str, Any] = {"version": PROTOCOL_VERSION, "verb": verb}
        document |= {name: wire.dump(value, kinds.get(name)) for name, value in told.items()}
        return self._runner.run(verb, document)

    def _outcome(self, verb: str, **told: Any) -> Outcome:
        try:
            answer = self._asked(verb, **told)
        except TemporaryFailure as busy:
            return Busy(RETRY_SECONDS, str(busy))
        try:
            outcome = wire.load_answer(answer)
        except wire.Unreadable as fault:
            raise BackendUnreachable(f"{verb}: the answer is not one: {fault}.") from None
        match outcome:
            case Done(backend_id=name) if len(name) > BACKEND_ID_LENGTH_MAX or not name.isprintable():
                raise BackendUnreachable(
                    f"{verb}: the answer is not one: backend_id is one line of at most {BACKEND_ID_LENGTH_MAX} characters."
                )
            case Busy(retry_after_seconds=seconds) if not 0 <= seconds <= RETRY_SECONDS_MAX:
                raise BackendUnreachable(
                    f"{verb}: the answer is not one: retry_after_seconds is 0 to {RETRY_SECONDS_MAX}."
                )
            case Busy(message=message):
                return replace(outcome, message=message[:MESSAGE_LENGTH_MAX])
        return outcome

    def _load(self, verb: str, kind: type[T], answer: Any) -> T:
        return self._loaded(f"{verb}: the answer is not one", kind, answer)

    @staticmethod
    def _loaded(where: str, kind: type[T], answer: Any) -> T:
        try:
            return wire.load(kind, answer)
        except wire.Unreadable as fault:
            raise BackendUnreachable(f"{where}: {fault}.") from None


def _no_username() -> Refused:
    return Refused("A name is none that a command is given: letters, digits, “_”, “.” and “-”, at most 64.")


def _not_now(verb: str, busy: TemporaryFailure) -> BackendUnreachable:
    return BackendUnreachable(
        f"{verb}: the command cannot do it now. It printed: {busy}" if str(busy) else f"{verb}: not now."
    )
