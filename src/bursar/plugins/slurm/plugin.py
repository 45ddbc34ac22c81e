"""An allocation is a SLURM account; the README beside this file holds the rules and what was measured."""

import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bursar.kernel.clock import now
from bursar.kernel.i18n import N_
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
    Health,
    Observation,
    OfferingDefaults,
    Outcome,
    Plugin,
    Presence,
    Refused,
    Severity,
    UsageBatch,
)
from bursar.plugins.slurm import mapping
from bursar.plugins.slurm.client import NothingDone, SlurmBusy, SlurmClient, SlurmRefused
from bursar.plugins.slurm.mapping import (
    NO_COUNTERS,
    Association,
    Counters,
    JobRun,
    LiveJob,
    Mark,
    Snapshot,
    WantedAccount,
)
from bursar.plugins.slurm.settings import ACCOUNT_NAME, SlurmSettings

RETRY_SECONDS = 5
RETRY_RUNNING_SECONDS = 60
_QUEUE_LOOKS = 4
_QUEUE_PAUSE_SECONDS = 0.3
_BEGINNING = 0
_DAY_SECONDS = 86400
_NO_LIMIT = -1


class SlurmPlugin(Plugin):
    """Accounts, limits and usage of one SLURM cluster."""

    key: ClassVar[str] = "slurm"
    title: ClassVar[str] = N_("SLURM")
    summary: ClassVar[str] = N_(
        "Time on a SLURM cluster: an account per allocation, limits from the wallet, usage from jobs."
    )
    version: ClassVar[str] = "1.0"
    Settings: ClassVar[type[BackendSettings]] = SlurmSettings
    settings: SlurmSettings
    default_components: ClassVar[Sequence[ComponentSpec]] = (
        ComponentSpec("cpu", N_("CPU"), N_("core-hours"), Billing.USAGE, "compute", N_("core-seconds"), 3600),
        ComponentSpec("gpu", N_("GPU"), N_("GPU-hours"), Billing.USAGE, "compute", N_("GPU-seconds"), 3600),
    )

    def offering_defaults(self) -> OfferingDefaults:
        return OfferingDefaults(
            tuple(_component(key, tres) for key, tres in self.settings.components.items()), self.default_order_form
        )

    # ------------------------------------------------------------------------------------------------------- health

    def check_health(self) -> Health:
        client = SlurmClient(self.settings)
        try:
            config = client.config()
        except (BackendUnreachable, SlurmRefused, SlurmBusy, NothingDone) as fault:
            advice = "Check where the commands run, SLURM_CONF and that slurmctld and munge are up."
            return Health((Finding(Severity.BROKEN, "slurmctld", str(fault), advice),))
        findings = [Finding(Severity.OK, "slurmctld", f"The controller of {config.get('ClusterName', '?')} answers.")]
        findings += self._database_findings(client)
        findings += mapping.config_findings(config, self.settings)
        return Health(tuple(findings), version=config.get("SLURM_VERSION", ""))

    def _database_findings(self, client: SlurmClient) -> Iterator[Finding]:
        """What slurmdbd says; stops at the first thing without which the rest cannot be asked."""
        try:
            clusters = client.clusters()
        except (BackendUnreachable, SlurmRefused, SlurmBusy, NothingDone) as fault:
            advice = "Bursar needs slurmdbd: start it, and set AccountingStorageType=accounting_storage/slurmdbd."
            yield Finding(Severity.BROKEN, "slurmdbd", str(fault), advice)
            return
        yield Finding(Severity.OK, "slurmdbd", "The accounting database answers.")
        cluster = client.cluster()
        if cluster not in clusters:
            known = ", ".join(sorted(clusters)) or "none"
            yield Finding(
                Severity.BROKEN,
                "cluster",
                f"slurmdbd knows no cluster {cluster!r}, but {known}.",
                "Correct the cluster's name in the settings, or add it with sacctmgr add cluster.",
            )
            return
        try:
            user, level = client.rights()
            if level not in {"Administrator", "Operator"}:
                yield Finding(
                    Severity.BROKEN,
                    "rights",
                    f"{user} may not change accounts (AdminLevel is {level or 'None'}).",
                    f"sacctmgr modify user {user} set AdminLevel=Operator",
                )
            else:
                yield Finding(Severity.OK, "rights", f"{user} may change accounts ({level}).")
            if self.settings.parent_account not in client.descriptions([self.settings.parent_account]):
                yield Finding(
                    Severity.BROKEN,
                    "parent account",
                    f"There is no account {self.settings.parent_account!r}.",
                    "Make it with sacctmgr add account, or name another one in the settings.",
                )
            for name in mapping.unknown(self.settings.qos, self.settings.default_qos, known=client.qos()):
                yield Finding(Severity.BROKEN, "QOS", f"There is no QOS {name!r}.", "Correct the settings.")
            yield from mapping.usage_factor_findings(client.qos(), self.settings.qos)
            queue = client.dbd_queue()
            if queue and not self._queue_empty(client):
                yield Finding(
                    Severity.WARNING,
                    "slurmdbd",
                    f"The controller holds {queue} messages back for slurmdbd.",
                    "Usage may be late until they have arrived; check the connection from slurmctld to slurmdbd.",
                )
        except (BackendUnreachable, SlurmRefused, SlurmBusy, NothingDone) as fault:
            yield Finding(
                Severity.BROKEN, "rights", str(fault), "Check that this user may read accounts and jobs of all."
            )

    # -------------------------------------------------------------------------------------------------- provisioning

    def ensure(self, resource: DesiredResource) -> Outcome:
        return self._answer(lambda client: self._ensure(client, resource))

    def _ensure(self, client: SlurmClient, resource: DesiredResource) -> Outcome:
        cluster = client.cluster()
        if mapping.adopted(resource) is not None:
            self._own(client, resource)  # so that it bears the mark by which it is looked for here
        wanted = mapping.wanted_accounts(self.settings, resource)
        present = {row.description: row for row in client.marked(a.description for a in wanted) if not row.user}
        # An account keeps the name it was made with: slugs and patterns may have changed since.
        chain = [replace(a, name=present[a.description].account) if a.description in present else a for a in wanted]
        absent = [account for account in chain if account.description not in present]
        if absent and (why := self._in_the_way(client, absent)):
            return Refused(why)
        own, parent = chain[-1], self.settings.parent_account
        for account in chain:
            found = present.get(account.description)
            if found is None:
                # A new allocation is closed until its quota has been set.
                more = (*self._qos_words(), "GrpJobs=0") if account is own else ()
                _tolerate_nothing(
                    client,
                    "sacctmgr",
                    "-i",
                    "add",
                    "account",
                    account.name,
                    f"cluster={cluster}",
                    f"parent={parent}",
                    f"description={account.description}",
                    f"organization={account.organization}",
                    *more,
                )
            else:
                changes = [] if found.parent == parent else [f"parent={parent}"]
                if account is own and not self._qos_right(found):
                    changes += self._qos_words()
                if changes:
                    self._modify_account(client, account.name, *changes)
            parent = account.name
        if absent and not self.settings.dry_run:
            made = {row.description for row in client.marked(a.description for a in absent)}
            if len(made) < len(absent):
                return Busy(RETRY_SECONDS, f"SLURM does not show the account {own.name} yet.")
        return Done(
            backend_id=own.name,
            state={
                **resource.state,
                "account": own.name,
                "parents": [account.name for account in chain[:-1]],
                "cluster": cluster,
            },
            access={
                N_("SLURM account"): own.name,
                N_("Cluster"): cluster,
                N_("To submit a job"): shlex.join(["sbatch", f"--account={own.name}", "job.sh"]),
            },
        )

    def _in_the_way(self, client: SlurmClient, absent: Sequence[WantedAccount]) -> str:
        """Why these accounts cannot be made; "" when they can."""
        parent = self.settings.parent_account
        there = client.descriptions([parent, *(account.name for account in absent)])
        if parent not in there:
            return f"There is no account {parent!r} in SLURM, below which accounts are to be made."
        for account in absent:
            if there.get(account.name, account.description) != account.description:
                return (
                    f"SLURM has an account {account.name!r} that was not made by Bursar for this (its description is "
                    f"{mapping.safe_text(there[account.name])!r}, not {account.description!r}). "
                    "Rename it, or change the pattern of the names."
                )
        return ""

    def _qos_words(self) -> tuple[str, ...]:
        words = []
        if self.settings.qos:
            words.append(f"qos={self.settings.qos}")
        if self.settings.default_qos:
            words.append(f"defaultqos={self.settings.default_qos}")
        return tuple(words)

    def _qos_right(self, found: Association) -> bool:
        settings = self.settings
        same = not settings.qos or found.qos == frozenset(settings.qos.lower().split(","))
        return same and (not settings.default_qos or found.default_qos == settings.default_qos.lower())

    def remove(self, resource: DesiredResource) -> Outcome:
        return self._answer(lambda client: self._remove(client, resource))

    def _remove(self, client: SlurmClient, resource: DesiredResource) -> Outcome:
        own = self._own(client, resource)
        if own is None:
            return Done(backend_id=resource.backend_id, state=resource.state)
        account = own.account
        if own.row.grp_submit_jobs != 0:
            self._modify_account(client, account, "GrpSubmitJobs=0", "GrpJobs=0")
        if self.settings.dry_run:
            client.write("scancel", f"--account={account}")
        else:
            asked_at = int(now().timestamp())
            runs = client.job_runs([account], asked_at - _DAY_SECONDS)
            jobs, more = self._controllers_jobs(client, [account], runs)
            if not all(job.ended for job in jobs):
                client.write("scancel", f"--account={account}")
                return Busy(RETRY_SECONDS, f"Jobs of {account} are being ended.", state=resource.state)
            if not self._queue_empty(client) or not mapping.all_accounted(
                jobs, mapping.told_whole([*runs, *more], asked_at)
            ):
                message = f"The last jobs of {account} have not reached the accounting database yet."
                return Busy(RETRY_SECONDS, message, state=resource.state)
        for user in own.users:
            self._remove_user(client, account, user)
        # Only the allocation's own account: removing one takes all below it along, and another allocation
        # may be coming under the project's at this moment. Without a cluster it is removed altogether.
        cluster = client.cluster()
        here = [f"cluster={cluster}"] if client.clusters_of(account) - {cluster} else []
        _tolerate_nothing(client, "sacctmgr", "-i", "remove", "account", "where", f"name={account}", *here)
        return Done(backend_id=resource.backend_id or account, state=resource.state)

    def observe(self, resource: DesiredResource) -> Observation:
        client = SlurmClient(self.settings)
        try:
            own = self._own(client, resource, looking=True)
            if own is None:
                return Observation(Presence.ABSENT)
            counters = client.counters(own.account) or NO_COUNTERS
        except (SlurmRefused, SlurmBusy, NothingDone) as fault:
            return Observation(Presence.FAILED, str(fault))
        facts: dict[str, Any] = {
            "account": own.account,
            "parent": own.row.parent,
            "users": [user for user, row in own.users.items() if row.max_submit_jobs != 0],
            "limit_minutes": {tres: counters.limits.get(tres) for tres in self.settings.components.values()},
            "counted_minutes": {tres: counters.counted.get(tres, 0) for tres in self.settings.components.values()},
            "closed": counters.grp_jobs == 0,
        }
        return Observation(Presence.PAUSED if own.row.max_jobs == 0 else Presence.OK, facts=facts)

    # ------------------------------------------------------------------------------------------------- pause, resume

    def pause(self, resource: DesiredResource) -> Outcome:
        """No new job starts, running ones finish. Told apart from a lock, which is GrpJobs: neither undoes the other."""
        return self._answer(lambda client: self._set_on_account(client, resource, "MaxJobs=0"))

    def resume(self, resource: DesiredResource) -> Outcome:
        return self._answer(lambda client: self._set_on_account(client, resource, f"MaxJobs={_NO_LIMIT}"))

    def _set_on_account(self, client: SlurmClient, resource: DesiredResource, *words: str) -> Outcome:
        own = self._own(client, resource)
        if own is None:
            return _absent(resource)
        self._modify_account(client, own.account, *words)
        return Done(backend_id=own.account, state=resource.state)

    # -------------------------------------------------------------------------------------------------------- members

    def set_members(self, resource: DesiredResource) -> Outcome:
        return self._answer(lambda client: self._set_members(client, resource))

    def _set_members(self, client: SlurmClient, resource: DesiredResource) -> Outcome:
        own = self._own(client, resource)
        if own is None:
            return _absent(resource)
        account, present = own.account, own.users
        users = mapping.users_of(resource)
        wanted = users.wanted
        cluster = client.cluster()
        missing = sorted(wanted - set(present))
        if missing:
            names = ",".join(missing)
            _tolerate_nothing(
                client, "sacctmgr", "-i", "add", "user", names, f"account={account}", f"cluster={cluster}"
            )
        for user in sorted(wanted & set(present)):
            if present[user].max_submit_jobs == 0:  # left, and came back before the last job had ended
                self._modify_user(client, account, user, f"MaxSubmitJobs={_NO_LIMIT}", f"MaxJobs={_NO_LIMIT}")
        waiting = [user for user in sorted(set(present) - wanted) if not self._remove_user(client, account, user)]
        state = {**resource.state, "members_without_account": list(users.without_account)}
        if waiting:
            return Busy(
                RETRY_RUNNING_SECONDS,
                f"{', '.join(waiting)}: no new job starts; removed from {account} when the running ones have ended.",
                state=state,
            )
        if users.impossible:
            bad = ", ".join(mapping.safe_text(name, 40) for name in users.impossible)
            return Refused(f"SLURM takes no local account of such a name: {bad}. The others have been set.")
        return Done(backend_id=account, state=state)

    def _remove_user(self, client: SlurmClient, account: str, user: str) -> bool:
        """Take a user from an account; False while jobs of theirs run, which then are the last."""
        cluster = client.cluster()
        default, accounts = client.accounts_of(user)
        others = [name for name in accounts if name != account]
        if default == account and others:
            # SLURM would leave the user without a default: sbatch without --account would be refused.
            client.write(
                "sacctmgr",
                "-i",
                "modify",
                "user",
                "where",
                f"name={user}",
                f"cluster={cluster}",
                "set",
                f"defaultaccount={others[0]}",
            )
        try:
            _tolerate_nothing(
                client,
                "sacctmgr",
                "-i",
                "remove",
                "user",
                "where",
                f"name={user}",
                f"account={account}",
                f"cluster={cluster}",
            )
        except SlurmBusy:
            self._modify_user(client, account, user, "MaxSubmitJobs=0", "MaxJobs=0")
            client.write("scancel", f"--user={user}", f"--account={account}", "--state=PENDING")
            return False
        return True

    # ---------------------------------------------------------------------------------------------------------- quota

    def enforce_quota(self, resource: DesiredResource, quota: Sequence[ComponentQuota]) -> Outcome:
        return self._answer(lambda client: self._enforce_quota(client, resource, quota))

    def _enforce_quota(
        self, client: SlurmClient, resource: DesiredResource, quota: Sequence[ComponentQuota]
    ) -> Outcome:
        # Most syncs change nothing, and the controller alone can say so, ten times quicker than slurmdbd.
        known = client.counters(resource.backend_id) if resource.backend_id else None
        account = resource.backend_id
        if known is None:
            own = self._own(client, resource)
            if own is None:
                return _absent(resource)
            account = own.account
            known = client.counters(account)
        counters = known or NO_COUNTERS
        ours = {self.settings.components[q.component]: q for q in quota if q.component in self.settings.components}
        if (adopted := mapping.adopted(resource)) is not None:
            # What was used before is counted by SLURM and reported to nobody.
            ours = {
                tres: q
                if q.reported is None
                else replace(q, reported=q.reported + 60 * adopted.counted_minutes.get(tres, 0))
                for tres, q in ours.items()
            }
        # A job that asks for no GPU may run on while GPU time is used up; without CPU, memory or node none can.
        closed = any(q.locked and not _optional(tres) for tres, q in ours.items())
        effective = {tres: replace(q, available=0) if q.locked and _optional(tres) else q for tres, q in ours.items()}
        shifts = self._shifts(client, account, effective, counters)
        wanted = {
            tres: mapping.limit_minutes(q, counters.counted.get(tres, 0), shifts.get(tres, 0))
            for tres, q in effective.items()
        }
        words = [
            f"{tres}={_NO_LIMIT if minutes is None else minutes}"
            for tres, minutes in sorted(wanted.items())
            if known is None or counters.limits.get(tres) != minutes
        ]
        changes = [f"GrpTRESMins={','.join(words)}"] if words else []
        if known is None or (counters.grp_jobs == 0) != closed:
            changes.append(f"GrpJobs={0 if closed else _NO_LIMIT}")
        if changes:
            if self._own(client, resource) is None:
                return _absent(resource)
            self._modify_account(client, account, *changes)
        return Done(backend_id=account, state=resource.state)

    def _shifts(
        self, client: SlurmClient, account: str, quota: Mapping[str, ComponentQuota], counters: Counters
    ) -> dict[str, int]:
        """Minutes by which SLURM's counting is off, for the TRES where that is in doubt; asks accounting only then."""
        doubtful = [
            tres
            for tres, q in quota.items()
            if mapping.counting_doubtful(q, counters.counted.get(tres, 0), counters.committed.get(tres, 0))
        ]
        if not doubtful:
            return {}
        runs = client.job_runs([account], _BEGINNING)
        jobs, more = self._controllers_jobs(client, [account], runs)
        runs += more
        after = client.counters(account) or NO_COUNTERS
        running = {(job.job_id, job.start) for job in jobs if job.running}
        settled = client.dbd_queue() == 0 and running == {(run.job_id, run.start) for run in runs if run.end is None}
        snapshot = Snapshot(runs, counters, after, settled)
        return {tres: mapping.counting_shift(snapshot, tres) for tres in doubtful}

    # ---------------------------------------------------------------------------------------------------------- usage

    def measure(self, resources: Sequence[DesiredResource], mark: str) -> UsageBatch:
        """What jobs used since the mark, as levels of single job runs; ended ones again within the overlap.

        raises   BackendUnreachable; the mark then stays where it was, and nothing is lost
        """
        client = SlurmClient(self.settings)
        before = mapping.parse_mark(mark)
        began = int(now().timestamp())
        try:
            # Asked first: what the controller holds back now may have ended long before now.
            complete = self._queue_empty(client)
            accounts = self._accounts_measured(resources)
            known = {name for name, number in accounts.items() if number in before.known}
            runs = [
                *client.job_runs(known, before.since),
                *client.job_runs(set(accounts) - known, _BEGINNING),
            ]
            live, more = self._controllers_jobs(client, accounts, runs)
        except (SlurmRefused, SlurmBusy, NothingDone) as fault:
            raise BackendUnreachable(f"usage cannot be read: {fault}") from fault
        whole = mapping.told_whole([*runs, *more], began)
        records = mapping.usage_records(whole, live, accounts, self.settings.components)
        since = max(before.since, began - self.settings.overlap_minutes * 60) if complete else before.since
        return UsageBatch(records, str(Mark(since, frozenset(accounts.values()))))

    def _controllers_jobs(
        self, client: SlurmClient, accounts: Iterable[str], runs: Sequence[JobRun]
    ) -> tuple[list[LiveJob], list[JobRun]]:
        """The jobs the controller knows, and the ended runs of those that a search by time has not found (yet)."""
        jobs = client.live_jobs(accounts)
        seen = {(run.job_id, run.start) for run in runs}
        unseen = {job.job_id for job in jobs if job.ran and (job.job_id, job.start) not in seen}
        more = client.job_runs_of(unseen)
        return jobs, [run for run in more if run.end is not None and (run.job_id, run.start) not in seen]

    def _accounts_measured(self, resources: Sequence[DesiredResource]) -> dict[str, int]:
        accounts = {}
        for resource in resources:
            account = resource.backend_id or str(resource.state.get("account", ""))
            if ACCOUNT_NAME.fullmatch(account):
                accounts[account] = resource.id
        return accounts

    def _queue_empty(self, client: SlurmClient) -> bool:
        """Whether the controller has told slurmdbd all it knows; a busy one holds a few messages for moments."""
        for look in range(_QUEUE_LOOKS):
            if look:
                time.sleep(_QUEUE_PAUSE_SECONDS)
            if client.dbd_queue() == 0:
                return True
        return False

    # --------------------------------------------------------------------------------------------------------- import

    def importable(self) -> Sequence[DesiredResource]:
        """The accounts without accounts below them that nobody made for Bursar, with their GrpTRESMins as limits."""
        client = SlurmClient(self.settings)
        try:
            rows = mapping.not_ours(client.accounts(), self.settings)
            counters = client.all_counters() if rows else {}
        except (SlurmRefused, SlurmBusy, NothingDone) as fault:
            raise BackendUnreachable(f"the accounts cannot be read: {fault}") from fault
        return [mapping.importable(row, counters.get(row.account, NO_COUNTERS), self.settings) for row in rows]

    # --------------------------------------------------------------------------------------------------------- common

    def _answer(self, work: Callable[[SlurmClient], Outcome]) -> Outcome:
        """Do a piece of work with a client of its own; what SLURM says becomes an outcome."""
        client = SlurmClient(self.settings)
        try:
            outcome = work(client)
        except SlurmBusy as fault:
            return Busy(RETRY_SECONDS, str(fault))
        except (SlurmRefused, NothingDone, mapping.NotAName) as fault:
            return Refused(str(fault))
        if self.settings.dry_run and isinstance(outcome, Done):
            planned = [shlex.join(argv) for argv in client.planned]
            return replace(outcome, state={**outcome.state, "dry_run": planned})
        if isinstance(outcome, Done) and client.done:
            return replace(outcome, changed=tuple(shlex.join(argv) for argv in client.done))
        return outcome

    def _own(self, client: SlurmClient, resource: DesiredResource, *, looking: bool = False) -> "OwnAccount | None":
        """The account that bears the resource's mark, and its users; None when there is none.

        One that was taken over and still bears the description with which it was offered gets the mark now, unless it is
        only looked at.

        raises   SlurmRefused when the account that `ensure` answered is there, but bears another mark
        """
        mark = mapping.resource_mark(self.settings.tag, resource.id)
        rows = client.marked([mark])
        row = next((row for row in rows if not row.user), None)
        if row is None and (adopted := mapping.adopted(resource)) is not None:
            rows = client.named(resource.backend_id) if ACCOUNT_NAME.fullmatch(resource.backend_id) else []
            row = next((row for row in rows if not row.user and row.description == adopted.description), None)
            if row is not None and not looking:
                client.write(
                    "sacctmgr", "-i", "modify", "account", "where", f"name={row.account}", "set", f"description={mark}"
                )
        if row is not None:
            return OwnAccount(row, {row.user: row for row in sorted(rows, key=lambda row: row.user) if row.user})
        if ACCOUNT_NAME.fullmatch(resource.backend_id):
            other = client.descriptions([resource.backend_id]).get(resource.backend_id)
            if other is not None and other != mark:
                raise SlurmRefused(
                    f"The account {resource.backend_id!r} bears the description {mapping.safe_text(other)!r} instead of "
                    f"{mark!r}: what may be somebody else's is not touched."
                )
        return None

    def _modify_account(self, client: SlurmClient, account: str, *words: str) -> None:
        client.write(
            "sacctmgr",
            "-i",
            "modify",
            "account",
            "where",
            f"name={account}",
            f"cluster={client.cluster()}",
            "set",
            *words,
        )

    def _modify_user(self, client: SlurmClient, account: str, user: str, *words: str) -> None:
        client.write(
            "sacctmgr",
            "-i",
            "modify",
            "user",
            "where",
            f"name={user}",
            f"account={account}",
            f"cluster={client.cluster()}",
            "set",
            *words,
        )


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """A resource's account on the cluster: its own association, and its users'."""

    row: Association
    users: Mapping[str, Association]

    @property
    def account(self) -> str:
        return self.row.account


def _tolerate_nothing(client: SlurmClient, *argv: str) -> None:
    """Add or remove; there already, or gone already, is as good: somebody else was quicker, or a killed attempt of ours."""
    try:
        client.write(*argv)
    except NothingDone:
        return


def _absent(resource: DesiredResource) -> Refused:
    return Refused(f"SLURM has no account for resource {resource.id}; it has to be made first.")


def _optional(tres: str) -> bool:
    """Whether a job can do without a TRES."""
    return tres.startswith(("gres/", "license/", "bb/"))


def _component(key: str, tres: str) -> ComponentSpec:
    match tres:
        case "cpu":
            return ComponentSpec(key, N_("CPU"), N_("core-hours"), Billing.USAGE, "compute", N_("core-seconds"), 3600)
        case "mem":
            return ComponentSpec(
                key, N_("Memory"), N_("GiB-hours"), Billing.USAGE, "compute", N_("MiB-seconds"), 1024 * 3600
            )
        case "node":
            return ComponentSpec(key, N_("Nodes"), N_("node-hours"), Billing.USAGE, "compute", N_("node-seconds"), 3600)
        case "billing":
            return ComponentSpec(
                key, N_("Billing units"), N_("billing-hours"), Billing.USAGE, "compute", N_("billing-seconds"), 3600
            )
        case _ if tres.startswith("gres/gpu"):
            return ComponentSpec(key, N_("GPU"), N_("GPU-hours"), Billing.USAGE, "compute", N_("GPU-seconds"), 3600)
        case _:
            return ComponentSpec(key, tres, N_("hours"), Billing.USAGE, "compute", N_("seconds"), 3600)
