"""Between Bursar's words and the simulator's: names, titles, machines, usage. The backend's words stop here."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bursar.plugins.contract import DesiredResource, Member, Observation, Presence, Ref, UsageRecord, found
from bursar.plugins.simulator import wire

CPU: Final = "cpu"
STORAGE: Final = "storage"
MACHINE: Final = "vm"
SECONDS_PER_HOUR: Final = 3600
USED_BEFORE: Final = "used_before_core_seconds"
"""In the state of a resource that was taken over: what was used before, and is no wallet's."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_OURS: Final = re.compile(r"[rop][0-9]+|personal")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def account_name(resource: DesiredResource) -> str:
    """The resource's account at the backend. What was taken over keeps its name; all others follow from the id alone, so
    that asking twice finds the same one."""
    return resource.backend_id if _NAME.fullmatch(resource.backend_id) else f"r{resource.id}"


def not_ours(accounts: Iterable[wire.AccountShown], kind: str) -> list[DesiredResource]:
    """The open accounts of a kind that do not bear a name that this plugin gives."""
    there = []
    for account in accounts:
        if account.kind != kind or account.closed or _OURS.fullmatch(account.name):
            continue
        form = {}
        if account.machine is not None:
            form = {"name": account.machine.name, "flavor": account.machine.flavor}
        limits = {} if kind == "vm" else {STORAGE: account.storage_gb}
        state = {USED_BEFORE: account.counted_core_seconds}
        there.append(found(account.name, account.title, limits, form=form, state=state))
    return there


def used_before(resource: DesiredResource) -> int:
    """Core-seconds that the account had used when it was taken over; 0 for all others."""
    told = resource.state.get(USED_BEFORE, 0)
    return told if isinstance(told, int) and told > 0 else 0


def tree(resource: DesiredResource) -> list[tuple[str, str]]:
    """(account, title) of the groups above the resource, outermost first."""
    if resource.organization is None:
        return [("personal", "Personal workspaces")]
    above = [(f"o{resource.organization.id}", resource.organization)]
    above += [(f"p{project.id}", project) for project in resource.projects]
    return [(name, title(ref)) for name, ref in above]


def title(named: Ref | DesiredResource) -> str:
    """A person's text as one visible line of bounded length; the slug where nothing is left of it."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in named.name).split())
    return plain[: wire.TEXT_LENGTH_MAX] or named.slug[: wire.TEXT_LENGTH_MAX] or "unnamed"


def usernames(members: Iterable[Member]) -> list[str]:
    return sorted({member.username for member in members if member.username})


def account_wanted(resource: DesiredResource, kind: str, parent: str | None, metered: str) -> wire.AccountWanted:
    """raises   ValidationError for limits that the backend cannot hold"""
    cap = resource.limits.get(metered)
    return wire.AccountWanted.model_validate(
        {
            "kind": kind,
            "title": title(resource),
            "parent": parent,
            "storage_gb": resource.limits.get(STORAGE, 0),
            "cap_core_seconds": None if cap is None else cap * SECONDS_PER_HOUR,
        }
    )


def machine_wanted(form: Mapping[str, Any]) -> wire.MachineWanted:
    """raises   ValidationError for a form that describes no machine"""
    wanted = {key: form[key] for key in ("name", "flavor", "ssh_key") if key in form}
    return wire.MachineWanted.model_validate(wanted)


def observed(account: wire.AccountShown) -> Observation:
    facts: dict[str, Any] = {
        "used_core_seconds": account.counted_core_seconds,
        "limit_core_seconds": account.limit_core_seconds,
        "locked": account.locked,
        "members": list(account.members),
    }
    if account.closed:
        return Observation(Presence.ABSENT, facts=facts)
    if account.kind == "vm":
        return _machine_observed(account.machine, facts)
    facts |= {
        "storage_gb": account.storage_gb,
        "jobs_running": account.jobs_running,
        "jobs_pending": account.jobs_pending,
        "pretend_users": account.pretend_users,
    }
    return Observation(Presence.PAUSED if account.paused else Presence.OK, facts=facts)


def _machine_observed(machine: wire.MachineShown | None, facts: dict[str, Any]) -> Observation:
    if machine is None or machine.state == "deleted":
        return Observation(Presence.ABSENT, facts=facts)
    facts |= {"machine": machine.name, "flavor": machine.flavor, "cores": machine.cores, "state": machine.state}
    if machine.state == "building":
        return Observation(Presence.CREATING, facts=facts)
    if machine.state == "stopped":
        return Observation(Presence.PAUSED, facts=facts)
    if machine.state == "held":
        # Not a pause that anybody asked for: resuming it would be the wrong cure, so it is not shown as one.
        return Observation(Presence.OK, "The machine stands still: its quota is used up, or was not set yet.", facts)
    return Observation(Presence.OK, facts=facts)


def usage_records(told: wire.UsageTold, resource_ids: Mapping[str, int], component: str) -> Sequence[UsageRecord]:
    """Levels per run. The id names the run and how far it had come, and all else follows from these two.

    raises   ValueError for samples that cannot be
    """
    records = []
    for sample in told.samples:
        amount = sample.cores * sample.seconds
        if sample.account not in resource_ids or sample.end <= sample.start or amount > wire.CORE_SECONDS_MAX:
            raise ValueError(f"run {sample.run} makes no sense")
        scope = f"{told.instance}-{sample.run}"
        records.append(
            UsageRecord(
                id=f"{scope}-{sample.seconds}",
                resource_id=resource_ids[sample.account],
                component=component,
                amount=amount,
                period_start=_instant(sample.start),
                period_end=_instant(sample.end),
                absolute=True,
                scope=scope,
                username=sample.username,
                job=sample.label,
                labels={"cores": str(sample.cores)},
            )
        )
    return records


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def mark_text(told: wire.UsageTold) -> str:
    return f"{told.instance}:{told.as_of}"


def mark_read(mark: str, instance: str) -> int | None:
    """The instant of a mark; None, the beginning, for no mark and for the mark of another or a wiped simulator."""
    theirs, _, as_of = mark.partition(":")
    return int(as_of) if theirs == instance and as_of.isascii() and as_of.isdigit() else None
