"""The plugin that provisions on the simulator: a share of the pretend cluster, or a machine of the pretend cloud."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, ClassVar, Final, ParamSpec

from pydantic import ValidationError

from bursar import __version__
from bursar.kernel.i18n import N_
from bursar.plugins.contract import (
    ActionSpec,
    BackendSettings,
    BackendUnreachable,
    Billing,
    Busy,
    ComponentQuota,
    ComponentSpec,
    DesiredResource,
    Done,
    Finding,
    Health,
    Member,
    Observation,
    OfferingDefaults,
    Outcome,
    Plugin,
    Presence,
    Refused,
    Severity,
    UsageBatch,
    UsageRecord,
)
from bursar.plugins.simulator import mapping, wire
from bursar.plugins.simulator.client import Client, NotThere, Rejected, TokenRefused, one_line
from bursar.plugins.simulator.settings import SimulatorSettings

BUILD_RETRY_SECONDS: Final = 2

HPC_COMPONENTS: Final = (
    ComponentSpec(
        key=mapping.CPU,
        title=N_("CPU time"),
        unit="core-hours",
        billing=Billing.USAGE,
        product_type="compute",
        measured_unit="core-seconds",
        measured_per_unit=mapping.SECONDS_PER_HOUR,
    ),
    ComponentSpec(
        key=mapping.STORAGE,
        title=N_("Storage"),
        unit="GB",
        billing=Billing.LIMIT,
        product_type="storage",
        measured_unit="GB",
        limit_min=1,
        limit_max=10_000,
        limit_default=100,
    ),
)
HPC_FORM: Final = {"type": "object", "properties": {}}

VM_COMPONENTS: Final = (
    ComponentSpec(
        key=mapping.MACHINE,
        title=N_("Machine time"),
        unit="core-hours",
        billing=Billing.USAGE,
        product_type="compute",
        measured_unit="core-seconds",
        measured_per_unit=mapping.SECONDS_PER_HOUR,
    ),
)
VM_FORM: Final = {
    "type": "object",
    "required": ["name", "flavor"],
    "properties": {
        "name": {
            "type": "string",
            "title": N_("Machine name"),
            "description": N_("Small letters, digits and hyphens; begins with a letter."),
            "pattern": "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
            "maxLength": 63,
        },
        "flavor": {
            "type": "string",
            "title": N_("Flavor"),
            "description": N_("sim.small has 1 core, sim.medium 2, sim.large 4, sim.xlarge 8."),
            "enum": list(wire.FLAVORS),
            "default": "sim.small",
        },
        "ssh_key": {
            "type": "string",
            "title": N_("SSH key"),
            "description": N_("The public key that may sign in, in one line, as in authorized_keys."),
            "format": "ssh-public-key",
            "maxLength": 4096,
        },
    },
}

_P = ParamSpec("_P")


def _answered(verb: Callable[_P, Outcome]) -> Callable[_P, Outcome]:
    """A backend that will not, or that does not know the thing, is an answer to the loop and not an accident."""

    @wraps(verb)
    def told(*args: _P.args, **kwargs: _P.kwargs) -> Outcome:
        try:
            return verb(*args, **kwargs)
        except Rejected as error:
            return Refused(f"The simulator refuses: {error}.")
        except NotThere:
            return Refused("The simulator does not know this resource: it has to be provisioned first.")
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            return Refused(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    return told


class SimulatorPlugin(Plugin):
    key: ClassVar[str] = "simulator"
    title: ClassVar[str] = N_("Simulator (for trials and training)")
    summary: ClassVar[str] = N_(
        "A small pretend cluster and cloud on the server's own machine: jobs take real time and usage arrives."
    )
    version: ClassVar[str] = __version__
    Settings: ClassVar[type[BackendSettings]] = SimulatorSettings
    default_components: ClassVar[Sequence[ComponentSpec]] = HPC_COMPONENTS
    default_order_form: ClassVar[Mapping[str, Any]] = HPC_FORM
    settings: SimulatorSettings

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        self._client = Client(self.settings)

    @property
    def _metered(self) -> str:
        """The component whose use is measured and limited."""
        return mapping.MACHINE if self.settings.sells == "vm" else mapping.CPU

    def offering_defaults(self) -> OfferingDefaults:
        if self.settings.sells == "vm":
            return OfferingDefaults(VM_COMPONENTS, VM_FORM)
        return OfferingDefaults(HPC_COMPONENTS, HPC_FORM)

    def check_health(self) -> Health:
        try:
            info = self._client.call("GET", "/v1/info", wire.Info)
        except TokenRefused as error:
            advice = N_("Copy the token from the file beside the simulator's state into the settings.")
            return Health((Finding(Severity.BROKEN, N_("Token"), str(error), advice),))
        except (BackendUnreachable, NotThere, Rejected) as error:
            advice = N_("Start it with: python -m bursar.plugins.simulator.backend --port PORT --state FILE")
            return Health((Finding(Severity.BROKEN, N_("Simulator"), str(error) or N_("It does not answer."), advice),))
        load = f"{info.jobs_running} jobs run, {info.jobs_pending} wait, on {info.cores} pretend cores."
        findings = [Finding(Severity.OK, N_("Simulator"), load)]
        if info.speed != 1:
            quick = f"One real second is {info.speed:g} seconds there, and usage is counted in its seconds."
            advice = N_("For real time, start it with --speed 1.")
            findings.append(Finding(Severity.WARNING, N_("Speed"), quick, advice))
        return Health(tuple(findings), version=info.version)

    # ------------------------------------------------------------------------------------------------------ provisions

    @_answered
    def ensure(self, resource: DesiredResource) -> Outcome:
        name = mapping.account_name(resource)
        parent: str | None = None
        if self.settings.sells == "vm":
            machine = mapping.machine_wanted(resource.form)  # refused before anything is made
        for group, title in mapping.tree(resource):
            self._put_account(group, wire.AccountWanted(kind="group", title=title, parent=parent))
            parent = group
        account = self._put_account(name, mapping.account_wanted(resource, self.settings.sells, parent, self._metered))
        access = {N_("Account"): name}
        if self.settings.sells == "vm":
            account = self._client.call("PUT", f"/v1/accounts/{name}/machine", wire.AccountShown, machine)
            if account.machine is None or account.machine.state == "building":
                return Busy(BUILD_RETRY_SECONDS, N_("The machine is being built."))
            access = {N_("Machine"): account.machine.name, N_("Address (pretend)"): account.machine.address}
        access[N_("Simulator page")] = self.settings.url
        return Done(backend_id=name, state=dict(resource.state), access=access)

    @_answered
    def remove(self, resource: DesiredResource) -> Outcome:
        with suppress(NotThere):
            self._client.call("DELETE", f"/v1/accounts/{mapping.account_name(resource)}", wire.AccountShown)
        return Done()

    def observe(self, resource: DesiredResource) -> Observation:
        try:
            account = self._client.call("GET", f"/v1/accounts/{mapping.account_name(resource)}", wire.AccountShown)
        except NotThere:
            return Observation(Presence.ABSENT)
        except Rejected as error:
            return Observation(Presence.FAILED, str(error))
        return mapping.observed(account)

    def _put_account(self, name: str, wanted: wire.AccountWanted) -> wire.AccountShown:
        return self._client.call("PUT", f"/v1/accounts/{name}", wire.AccountShown, wanted)

    # --------------------------------------------------------------------------------------------- pause, quota, people

    def pause(self, resource: DesiredResource) -> Outcome:
        return self._set(resource, "paused", wire.Switch(on=True))

    def resume(self, resource: DesiredResource) -> Outcome:
        return self._set(resource, "paused", wire.Switch(on=False))

    @_answered
    def enforce_quota(self, resource: DesiredResource, quota: Sequence[ComponentQuota]) -> Outcome:
        """Only the metered component is set: storage is held by its limit, which `ensure` sets.

        A metered component that is not named draws on nothing, and so nothing limits it.
        """
        wanted = wire.QuotaWanted(available=None, locked=False)
        for told in quota:
            if told.component == self._metered:
                before = mapping.used_before(resource)
                reported = None if told.reported is None else told.reported + before
                wanted = wire.QuotaWanted(available=told.available, locked=told.locked, reported=reported)
        return self._set(resource, "quota", wanted)

    @_answered
    def set_members(self, resource: DesiredResource) -> Outcome:
        return self._set(resource, "members", wire.MembersWanted(usernames=mapping.usernames(resource.members)))

    @_answered
    def _set(self, resource: DesiredResource, what: str, wanted: wire.Wire) -> Outcome:
        self._client.call("PUT", f"/v1/accounts/{mapping.account_name(resource)}/{what}", wire.AccountShown, wanted)
        return Done()

    @_answered
    def ensure_account(self, member: Member) -> Outcome:
        full_name = one_line(member.full_name)[: wire.TEXT_LENGTH_MAX]
        wanted = wire.PersonWanted(email=member.email[:320], full_name=full_name, username=member.username or None)
        shown = self._client.call("PUT", f"/v1/people/{member.person_id}", wire.PersonShown, wanted)
        return Done(backend_id=shown.username)

    # ----------------------------------------------------------------------------------------------------------- usage

    def measure(self, resources: Sequence[DesiredResource], mark: str) -> UsageBatch:
        """Levels of each run since the mark. Storage is not measured: its level is the limit."""
        resource_ids = {mapping.account_name(resource): resource.id for resource in resources}
        records: list[UsageRecord] = []
        try:
            instance = self._client.call("GET", "/v1/info", wire.Info).instance
            asked = wire.UsageAsked(accounts=sorted(resource_ids), after=mapping.mark_read(mark, instance))
            while True:
                told = self._client.call("POST", "/v1/usage", wire.UsageTold, asked)
                records += mapping.usage_records(told, resource_ids, self._metered)
                if told.next_run is None:
                    return UsageBatch(records, mapping.mark_text(told))
                if told.next_run <= asked.from_run or told.instance != instance:
                    raise ValueError("pages that do not go on")
                asked = asked.model_copy(update={"as_of": told.as_of, "from_run": told.next_run})
        except (NotThere, Rejected, ValueError):
            raise BackendUnreachable(f"The simulator at {self.settings.url} tells usage that makes no sense.") from None

    # ---------------------------------------------------------------------------------------------------------- import

    def importable(self) -> Sequence[DesiredResource]:
        """The accounts of what this backend sells that were not made for Bursar, with the storage or the machine they have."""
        try:
            accounts = self._client.call("GET", "/v1/accounts", wire.Accounts)
        except (NotThere, Rejected):
            raise BackendUnreachable(
                f"The simulator at {self.settings.url} does not tell which accounts it has."
            ) from None
        return mapping.not_ours(accounts.root, self.settings.sells)

    # --------------------------------------------------------------------------------------------------------- actions

    def actions(self, resource: DesiredResource) -> Sequence[ActionSpec]:
        if self.settings.sells == "vm":
            return (ActionSpec("restart", N_("Restart"), dangerous=True),)
        return (
            ActionSpec("submit_job", N_("Submit a demo job"), form=_job_form(mapping.usernames(resource.members))),
            ActionSpec("start_pretend_users", N_("Let pretend users submit jobs")),
            ActionSpec("stop_pretend_users", N_("Stop the pretend users")),
        )

    @_answered
    def act(self, resource: DesiredResource, action: str, form: Mapping[str, Any]) -> Outcome:
        name = mapping.account_name(resource)
        if action not in {spec.key for spec in self.actions(resource)}:
            return Refused("There is no such action here.")
        if action == "restart":
            self._client.call("POST", f"/v1/accounts/{name}/machine/restart", wire.AccountShown)
        elif action == "submit_job":
            wanted = wire.JobWanted.model_validate({"name": "demo", "cores": 1, "seconds": 60, **form, "account": name})
            job = self._client.call("POST", "/v1/jobs", wire.JobShown, wanted)
            return Done(backend_id=name, state=dict(resource.state), access={N_("Job"): str(job.id)})
        else:
            self._set(resource, "pretend-users", wire.Switch(on=action == "start_pretend_users"))
        return Done(backend_id=name, state=dict(resource.state))


def _job_form(usernames: Sequence[str]) -> Mapping[str, Any]:
    username: dict[str, Any] = {"type": "string", "title": N_("As user")}
    if usernames:
        username |= {"enum": list(usernames), "default": usernames[0]}
    return {
        "type": "object",
        "required": ["username", "cores", "seconds"],
        "properties": {
            "username": username,
            "name": {"type": "string", "title": N_("Job name"), "default": "demo", "maxLength": wire.TEXT_LENGTH_MAX},
            "cores": {"type": "integer", "title": N_("Cores"), "minimum": 1, "maximum": 512, "default": 4},
            "seconds": {
                "type": "integer",
                "title": N_("Seconds"),
                "description": N_("How long the job runs, in the simulator's seconds."),
                "minimum": 1,
                "maximum": 86_400,
                "default": 60,
            },
        },
    }
