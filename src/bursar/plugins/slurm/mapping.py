"""Between Bursar's words and SLURM's: pure functions, no commands run.

Everything a person may have typed (names, slugs) passes through here before it reaches a command.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise

from bursar.plugins.contract import ComponentQuota, DesiredResource, Finding, Ref, Severity, UsageRecord, found
from bursar.plugins.slurm.settings import ACCOUNT_NAME, SlurmSettings

ACCOUNT_NAME_LENGTH = 60
USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")

# ------------------------------------------------------------------------------------------------------------ names


class NotAName(ValueError):
    """A pattern gives no name that SLURM takes."""


def safe_slug(text: str) -> str:
    """What is left of a text in an account's name: small letters, digits and single dashes; "x" when nothing is."""
    plain = unicodedata.normalize("NFKD", text[:200].casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "x"


def safe_text(text: str, length: int = 60) -> str:
    """A person's text as a description: SLURM's tools treat quotes, commas, `=`, `|` and line ends in ways of their own."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9 ._:()/+-]+", " ", plain).strip()[:length].strip() or "-"


def account_name(pattern: str, **facts: str | int) -> str:
    """The account's name by a pattern: cut to SLURM's taste at the slugs, never at the number, so that it stays unique.

    raises   NotAName
    """
    number = facts["id"]
    slugs = {key: safe_slug(str(value)) for key, value in facts.items() if key != "id"}
    for length in range(ACCOUNT_NAME_LENGTH, 0, -1):
        cut = {key: value[:length].strip("-") or "x" for key, value in slugs.items()}
        name = pattern.format(id=number, **cut).lower()
        if len(name) <= ACCOUNT_NAME_LENGTH:
            if not ACCOUNT_NAME.fullmatch(name):
                raise NotAName(f"{name!r} is not a name of a SLURM account")
            return name
    raise NotAName(f"the pattern {pattern!r} gives names that are too long")


@dataclass(frozen=True, slots=True)
class WantedAccount:
    """An account as it should be. `description` is the mark by which Bursar knows its own, whatever the account is called."""

    name: str
    description: str
    organization: str


def resource_mark(tag: str, resource_id: int) -> str:
    return f"{tag} resource {resource_id}"


def wanted_accounts(settings: SlurmSettings, resource: DesiredResource) -> tuple[WantedAccount, ...]:
    """The chain of accounts from the organization's down to the resource's own, which comes last."""
    organization = safe_text(resource.organization.name) if resource.organization else "personal"

    def of(kind: str, pattern: str, ref: Ref) -> WantedAccount:
        return WantedAccount(
            account_name(pattern, id=ref.id, slug=ref.slug), f"{settings.tag} {kind} {ref.id}", safe_text(ref.name)
        )

    chain = []
    if resource.organization:
        chain.append(of("organization", settings.organization_account, resource.organization))
    chain.extend(of("project", settings.project_account, project) for project in resource.projects)
    name = account_name(
        settings.allocation_account,
        id=resource.id,
        slug=resource.slug,
        organization=resource.organization.slug if resource.organization else "personal",
        project=resource.projects[-1].slug if resource.projects else "personal",
        offering=resource.offering_slug,
    )
    chain.append(WantedAccount(name, resource_mark(settings.tag, resource.id), organization))
    return tuple(chain)


@dataclass(frozen=True, slots=True)
class Users:
    """Whom an account is for. `wanted` as slurmdbd spells them; `without_account` are ids of people who have none yet;
    `impossible` are local accounts whose names could mean something else to SLURM's tools."""

    wanted: frozenset[str]
    without_account: tuple[int, ...]
    impossible: tuple[str, ...]


def users_of(resource: DesiredResource) -> Users:
    """The local users among the members."""
    names = [member.username for member in resource.members if member.username]
    possible = [name for name in names if USERNAME.fullmatch(name) and name.lower() != "root"]
    return Users(
        frozenset(name.lower() for name in possible),  # slurmdbd keeps users in small letters
        tuple(sorted(member.person_id for member in resource.members if not member.username)),
        tuple(sorted(set(names) - set(possible))),
    )


# ----------------------------------------------------------------------------------------------------------- health


def config_findings(config: Mapping[str, str], settings: SlurmSettings) -> list[Finding]:
    """How slurm.conf stands to what Bursar needs, from `scontrol show config`."""
    findings: list[Finding] = []

    def check(good: bool, severity: Severity, subject: str, found: str, fault: str, advice: str) -> None:
        if good:
            findings.append(Finding(Severity.OK, subject, found))
        else:
            findings.append(Finding(severity, subject, fault, advice))

    name = config.get("ClusterName", "")
    if settings.cluster:
        check(
            settings.cluster == name,
            Severity.BROKEN,
            "ClusterName",
            name,
            f"The controller is of the cluster {name!r}, the settings say {settings.cluster!r}.",
            "Correct the cluster in the settings, or SLURM_CONF.",
        )
    storage = config.get("AccountingStorageType", "")
    check(
        storage == "accounting_storage/slurmdbd",
        Severity.BROKEN,
        "AccountingStorageType",
        storage,
        f"Accounting goes to {storage or 'nothing'}: no use is kept.",
        "AccountingStorageType=accounting_storage/slurmdbd",
    )
    enforced = {word.strip() for word in config.get("AccountingStorageEnforce", "").lower().split(",")}
    for word, why in (
        ("associations", "anybody may run under any account"),
        ("limits", "no quota holds anybody"),
        ("safe", "jobs start that cannot end within the quota, and are killed in the middle"),
    ):
        # limits switches associations on, safe switches both.
        implied = {"associations": {"limits", "safe"}, "limits": {"safe"}}.get(word, set())
        check(
            word in enforced or "all" in enforced or bool(implied & enforced),
            Severity.BROKEN if word != "safe" else Severity.WARNING,
            f"AccountingStorageEnforce {word}",
            "set",
            f"AccountingStorageEnforce lacks {word}: {why}.",
            "AccountingStorageEnforce=associations,limits,qos,safe",
        )
    priority = config.get("PriorityType", "")
    check(
        priority == "priority/multifactor",
        Severity.BROKEN,
        "PriorityType",
        priority,
        f"{priority or 'No PriorityType'} counts no use: GrpTRESMins never holds.",
        "PriorityType=priority/multifactor",
    )
    decay = config.get("PriorityDecayHalfLife", "")
    check(
        re.fullmatch(r"[0:-]+", decay) is not None,
        Severity.BROKEN,
        "PriorityDecayHalfLife",
        "use does not decay",
        f"Counted use is halved every {decay}: SLURM forgets what was used, and grants it again until the next sync.",
        "PriorityDecayHalfLife=0",
    )
    reset = config.get("PriorityUsageResetPeriod", "NONE").upper()
    check(
        reset == "NONE",
        Severity.BROKEN,
        "PriorityUsageResetPeriod",
        "use is not reset",
        f"Counted use is set to zero ({reset}): SLURM forgets what was used, and grants it again until the next sync.",
        "PriorityUsageResetPeriod=NONE",
    )
    tracked = {word.strip() for word in config.get("AccountingStorageTRES", "").split(",")}
    for component, tres in settings.components.items():
        check(
            tres in tracked,
            Severity.BROKEN,
            f"AccountingStorageTRES {tres}",
            "tracked",
            f"{tres}, which is the component {component}, is not tracked.",
            f"AccountingStorageTRES={tres}, then restart slurmctld",
        )
    return findings


def unknown(*names: str, known: Iterable[str]) -> list[str]:
    """Names of comma-separated lists that are not known, each once."""
    there = {name.lower() for name in known}
    asked = dict.fromkeys(name for text in names for name in text.split(",") if name)
    return [name for name in asked if name.lower() not in there]


def usage_factor_findings(factors: Mapping[str, str], chosen: str) -> list[Finding]:
    """QOS whose jobs SLURM counts otherwise than accounting does."""
    names = chosen.lower().split(",") if chosen else list(factors)
    return [
        Finding(
            Severity.WARNING,
            "UsageFactor",
            f"The QOS {name!r} counts use times {float(factors[name]):g}; Bursar reports what was used.",
            "Set UsageFactor=1 and use prices or conversions of components instead: limits are corrected only at each sync.",
        )
        for name in names
        if factors.get(name) and float(factors[name]) != 1
    ]


# ---------------------------------------------------------------------------------------------------------- reading


def parse_rows(text: str, fields: Sequence[str]) -> list[dict[str, str]]:
    """Rows of `--parsable2 --noheader`. A line with another number of fields is foreign text (a description may hold line
    ends and bars), never one of ours: it is left out."""
    rows = []
    for line in text.splitlines():
        values = line.split("|")
        if len(values) == len(fields):
            rows.append(dict(zip(fields, values, strict=True)))
    return rows


def parse_config(text: str) -> dict[str, str]:
    """`scontrol show config`: key -> value; the first one counts, later parts of the output repeat names."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip():
            values.setdefault(key.strip(), value.strip())
    return values


_SIZES = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}


def parse_tres(text: str) -> dict[str, int]:
    """`cpu=2,mem=100M,gres/gpu=1`: TRES -> whole number; memory in MiB, as SLURM counts it."""
    amounts: dict[str, int] = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", value)
        if equals and found:
            factor = _SIZES[found[2]] if name in {"mem", "vmem"} else {"": 1, "K": 1000, "M": 10**6}.get(found[2], 1)
            amounts[name] = (
                round(float(found[1]) * factor) if "." in found[1] or factor < 1 else int(found[1]) * int(factor)
            )
    return amounts


@dataclass(frozen=True, slots=True)
class Association:
    """An account's association on the cluster, or a user's in it; `user` is "" for the account's own. None is no limit."""

    account: str
    description: str
    cluster: str
    parent: str
    user: str
    qos: frozenset[str]
    default_qos: str
    max_jobs: int | None
    grp_submit_jobs: int | None
    max_submit_jobs: int | None


ADOPTED = "taken_over"

ASSOCIATION_FIELDS = (
    "Account",
    "Description",
    "Cluster",
    "ParentName",
    "User",
    "QOS",
    "DefaultQOS",
    "MaxJobs",
    "GrpSubmitJobs",
    "MaxSubmitJobs",
)


def parse_associations(text: str) -> list[Association]:
    return [
        Association(
            account=row["Account"],
            description=row["Description"],
            cluster=row["Cluster"],
            parent=row["ParentName"],
            user=row["User"],
            qos=frozenset(filter(None, row["QOS"].split(","))),
            default_qos=row["DefaultQOS"],
            max_jobs=_number(row["MaxJobs"]),
            grp_submit_jobs=_number(row["GrpSubmitJobs"]),
            max_submit_jobs=_number(row["MaxSubmitJobs"]),
        )
        for row in parse_rows(text, ASSOCIATION_FIELDS)
    ]


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Counters:
    """What the controller holds on an account's association.

    limits     TRES -> minutes of GrpTRESMins; a TRES without a limit is absent
    counted    TRES -> whole minutes it has counted (rounded down)
    committed  TRES -> whole minutes that running jobs may still use by their time limits
    """

    grp_jobs: int | None
    limits: Mapping[str, int]
    counted: Mapping[str, int]
    committed: Mapping[str, int]


NO_COUNTERS = Counters(None, {}, {}, {})


def parse_counters(text: str, account: str) -> Counters | None:
    """The account's own line of `scontrol --oneliner show assoc_mgr flags=assoc`; None when the controller does not know it."""
    return parse_all_counters(text).get(account)


def parse_all_counters(text: str) -> dict[str, Counters]:
    """Account -> what the controller holds on it.

    There a value is `limit(used)`, with `N` for no limit. Used minutes are rounded down; no SLURM command shows their seconds.
    """
    known: dict[str, Counters] = {}
    for line in text.splitlines():
        facts = dict(token.partition("=")[::2] for token in line.split(" ") if "=" in token)
        account = facts.get("Account")
        if account and account not in known and not facts.get("UserName") and not facts.get("Partition"):
            limits, counted = _limits_and_used(facts.get("GrpTRESMins", ""))
            _, committed = _limits_and_used(facts.get("GrpTRESRunMins", ""))
            jobs = re.match(r"\d+", facts.get("GrpJobs", ""))
            known[account] = Counters(int(jobs[0]) if jobs else None, limits, counted, committed)
    return known


def _limits_and_used(text: str) -> tuple[dict[str, int], dict[str, int]]:
    limits: dict[str, int] = {}
    used: dict[str, int] = {}
    for item in text.split(","):
        found = re.fullmatch(r"([^=]+)=(N|\d+)\((\d+)\)", item)
        if found:
            if found[2] != "N":
                limits[found[1]] = int(found[2])
            used[found[1]] = int(found[3])
    return limits, used


def not_ours(rows: Iterable[Association], settings: SlurmSettings) -> list[Association]:
    """Accounts that may hold jobs and that no installation with this mark made: those without accounts below them."""
    rows = list(rows)
    parents = {row.parent for row in rows} | {"root", settings.parent_account}
    ours = re.compile(re.escape(settings.tag) + r" (organization|project|resource) [0-9]+")
    return [
        row
        for row in rows
        if row.account not in parents and not ours.fullmatch(row.description) and ACCOUNT_NAME.fullmatch(row.account)
    ]


def importable(row: Association, counters: Counters, settings: SlurmSettings) -> DesiredResource:
    """An account as it can be taken over; limits in whole units of the components, rounded down.

    The description is how it is known again as the very account that was offered, see `Adopted`.
    """
    limits = {}
    for component, tres in settings.components.items():
        if (minutes := counters.limits.get(tres)) is not None:
            # Minutes of memory are MiB-minutes, and its unit is a GiB-hour.
            limits[component] = minutes // 60 // (1024 if tres == "mem" else 1)
    before = {tres: counters.counted.get(tres, 0) for tres in settings.components.values()}
    state = {ADOPTED: {"description": row.description, "counted_minutes": before}}
    return found(row.account, row.account, limits, state=state)


@dataclass(frozen=True, slots=True)
class Adopted:
    """What the state of a resource that was taken over says.

    description      what the account bore then; from its first use on it bears the resource's mark
    counted_minutes  TRES -> minutes that SLURM had counted, which are no wallet's
    """

    description: str
    counted_minutes: Mapping[str, int]


def adopted(resource: DesiredResource) -> Adopted | None:
    """None for what was not taken over."""
    told = resource.state.get(ADOPTED)
    if not isinstance(told, Mapping) or not isinstance(told.get("description"), str):
        return None
    minutes = told.get("counted_minutes", {})
    counted = (
        {str(tres): n for tres, n in minutes.items() if isinstance(n, int)} if isinstance(minutes, Mapping) else {}
    )
    return Adopted(told["description"], counted)


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job: a requeued or resized job has several, an array task is one of its own.

    job_id      the number SLURM gave this task (JobIDRaw); shown is what people write (12_3)
    submitted, start, end   seconds since 1970; end is None while it has not ended
    elapsed     seconds without suspensions; suspended seconds beside it
    counted_from, counted   when this run began to use what it has, and for how many seconds it did
    limit       time limit in seconds, None when it has none
    """

    job_id: str
    shown: str
    cluster: str
    account: str
    user: str
    partition: str
    qos: str
    submitted: int
    start: int
    end: int | None
    elapsed: int
    suspended: int
    limit: int | None
    tres: Mapping[str, int]

    @property
    def counted_from(self) -> int:
        # Of a job that changed its size sacct shows each part after the first as submitted then, but from the job's start: the
        # time before would be counted in two parts.
        return max(self.start, self.submitted)

    @property
    def counted(self) -> int:
        return max(0, self.elapsed - (self.counted_from - self.start))


# Within this slurmdbd learns the rest of a job that ended before it had been told all of its beginning.
COMPLETION_SECONDS = 60


def told_whole(runs: Iterable[JobRun], now: int) -> list[JobRun]:
    """The runs without those that ended moments ago and of which accounting does not know partition and QOS yet.

    Told now, and again when all is known, one run would make two records; the amounts are right from the first moment.
    """
    return [run for run in runs if run.partition or run.end is None or run.end < now - COMPLETION_SECONDS]


JOB_FIELDS = (
    "JobIDRaw", "JobID", "Cluster", "Account", "User", "Partition", "QOS", "Submit", "Start", "End", "ElapsedRaw", "Suspended",
    "TimelimitRaw", "AllocTRES",
)  # fmt: skip


def parse_jobs(text: str) -> list[JobRun]:
    """Rows of sacct with times as seconds; what never started is left out, it used nothing."""
    return [
        JobRun(
            job_id=row["JobIDRaw"],
            shown=row["JobID"],
            cluster=row["Cluster"],
            account=row["Account"],
            user=row["User"],
            partition=row["Partition"],
            qos=row["QOS"],
            submitted=int(row["Submit"]),
            start=int(row["Start"]),
            end=_number(row["End"]),
            elapsed=int(row["ElapsedRaw"]),
            suspended=parse_duration(row["Suspended"]),
            limit=None if _number(row["TimelimitRaw"]) is None else int(row["TimelimitRaw"]) * 60,
            tres=parse_tres(row["AllocTRES"]),
        )
        for row in parse_rows(text, JOB_FIELDS)
        if row["Start"].isdigit() and row["Submit"].isdigit() and row["ElapsedRaw"].isdigit()
    ]


def parse_duration(text: str) -> int:
    """`[days-]hours:minutes:seconds` in seconds; fractions are dropped."""
    days, dash, clock = text.partition("-")
    if not dash:
        days, clock = "0", text
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part.partition(".")[0] or 0)
    return int(days) * 86400 + seconds


@dataclass(frozen=True, slots=True)
class LiveJob:
    """A job as the controller has it; it keeps ended ones for some minutes.

    start, end   seconds since 1970; the end of a running job is the one expected
    """

    job_id: str
    start: int | None
    end: int | None
    state: str

    @property
    def running(self) -> bool:
        return self.state in {"RUNNING", "SUSPENDED"}

    @property
    def ended(self) -> bool:
        return self.state in _ENDED

    @property
    def ran(self) -> bool:
        """Whether it used anything: one that is cancelled while it waits starts and ends, for the controller, at once."""
        return self.start is not None and not (self.ended and self.end is not None and self.end <= self.start)


_ENDED = frozenset(
    {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY"}
)
LIVE_FIELDS = ("%A", "%S", "%e", "%T")


def parse_live_jobs(text: str) -> list[LiveJob]:
    rows = parse_rows(text, LIVE_FIELDS)
    return [LiveJob(row["%A"], _number(row["%S"]), _number(row["%e"]), row["%T"]) for row in rows]


def all_accounted(jobs: Iterable[LiveJob], runs: Iterable[JobRun]) -> bool:
    """Whether accounting has the end of each job that ran and that the controller still knows, and of every run it has itself."""
    ended = set()
    for run in runs:
        if run.end is None:
            return False
        ended.add((run.job_id, run.start))
    return all(job.ended and (not job.ran or (job.job_id, job.start) in ended) for job in jobs)


def parse_dbd_queue(text: str) -> int:
    """How many messages the controller holds back for slurmdbd, from `sdiag`."""
    found = re.search(r"DBD Agent queue size:\s*(\d+)", text)
    return int(found[1]) if found else 0


# ------------------------------------------------------------------------------------------------------------ usage

# Clocks of the machines of one cluster agree to better than this (munge asks for it): the level told of a running job
# must never be above what the job's end will say.
RUNNING_MARGIN_SECONDS = 3
_STEP_MAX_SECONDS = 512


def told_seconds(seconds: int) -> int:
    """How far a running job is told: in steps of at most a sixteenth of the run, so that a long job does not make thousands
    of records, and asking again a moment later tells the very same record.

    never decreases as seconds grow; at most `seconds - RUNNING_MARGIN_SECONDS`
    """
    sure = max(0, seconds - RUNNING_MARGIN_SECONDS)
    step = min(_STEP_MAX_SECONDS, 1 << max(0, (sure // 16).bit_length() - 1))
    return sure - sure % step


def usage_records(
    runs: Iterable[JobRun],
    live: Iterable[LiveJob],
    resources: Mapping[str, int],
    components: Mapping[str, str],
) -> list[UsageRecord]:
    """What job runs used, as absolute levels: one scope per run and component.

    live        the controller's jobs, read *after* the runs: slurmdbd learns of an end late, and shows until then a job that
                grows; only what the controller still has is told as running
    resources   account -> resource id
    components  component key -> TRES
    """
    running = {(job.job_id, job.start) for job in live if job.running}
    records = []
    for run in runs:
        resource_id = resources.get(run.account)
        if resource_id is None:
            continue
        if run.end is not None:
            seconds, end = run.counted, run.end
        elif (run.job_id, run.start) in running:
            seconds = told_seconds(run.counted)
            end = run.counted_from + seconds + (told_seconds(run.suspended) if run.suspended else 0)
        else:
            continue
        for component, tres in components.items():
            amount = run.tres.get(tres, 0) * seconds
            if amount > 0 and end > run.counted_from:
                records.append(_record(run, resource_id, component, amount, end))
    return records


def _record(run: JobRun, resource_id: int, component: str, amount: int, end: int) -> UsageRecord:
    # A run is its job and its submission: a requeue or a change of size gives the same number a new time of submission,
    # while the start of a run may still be corrected.
    scope = f"{run.cluster}:{run.job_id}:{run.submitted}:{component}"
    labels = {"partition": run.partition, "qos": run.qos, "account": run.account}
    # The same id must for ever mean the same content, whatever SLURM says later of a partition or a user: the content is in it.
    content = json.dumps([resource_id, amount, run.counted_from, end, run.user, run.shown, labels], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return UsageRecord(
        id=f"{scope}:{end}:{digest}",
        resource_id=resource_id,
        component=component,
        amount=amount,
        period_start=datetime.fromtimestamp(run.counted_from, UTC),
        period_end=datetime.fromtimestamp(end, UTC),
        absolute=True,
        scope=scope,
        username=run.user,
        job=run.shown,
        labels=labels,
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to when usage has been read for good (seconds since 1970), and of which resources: a new one is read whole."""

    since: int = 0
    known: frozenset[int] = frozenset()

    def __str__(self) -> str:
        return json.dumps({"since": self.since, "known": _spans(self.known)}, separators=(",", ":"))


def parse_mark(text: str) -> Mark:
    """Read a mark; one that cannot be read is the beginning: reading again counts nothing twice."""
    try:
        facts = json.loads(text or "{}")
        return Mark(int(facts["since"]), _numbers(str(facts["known"])))
    except (ValueError, KeyError, TypeError):
        return Mark()


def _spans(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    if not ordered:
        return ""
    breaks = [index + 1 for index, (one, next_) in enumerate(pairwise(ordered)) if next_ != one + 1]
    bounds = pairwise([0, *breaks, len(ordered)])
    parts = [ordered[a:b] for a, b in bounds]
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _numbers(text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        numbers.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(numbers)


# ------------------------------------------------------------------------------------------------------------ quota

# Counted and committed minutes are each rounded down by SLURM.
ROUNDING_MINUTES = 2


def limit_minutes(quota: ComponentQuota, counted: int, shift: int = 0) -> int | None:
    """GrpTRESMins for one TRES: what this resource may use in all, in minutes as SLURM counts them, rounded down.

    counted   whole minutes SLURM has counted; asked only where Bursar does not say what was reported
    shift     minutes by which SLURM's counting is ahead of (or behind) what its accounting says, see `counting_shift`
    returns   None when nothing limits it

    With `reported + available` nothing is granted twice: what SLURM counted and Bursar has not been told yet lies below
    the limit already. `counted + available`, the fallback, grants it again until it is told.
    """
    if quota.available is None:
        return None
    available = max(0, quota.available)
    if quota.reported is None:
        return counted + available // 60
    return max(0, (quota.reported + available) // 60 + shift)


def counting_doubtful(quota: ComponentQuota, counted: int, committed: int) -> bool:
    """Whether SLURM's counting may have come apart from its accounting, so that it has to be compared job by job.

    Too little: a killed controller forgets up to its last saved state, an administrator may reset usage, usage may decay; it
    would grant again what is used up. Too much (a suspension counted as use, a QOS with a UsageFactor) matters once it
    eats more than a tenth of what is left.
    """
    if quota.available is None or quota.reported is None:
        return False
    lost = counted + committed + ROUNDING_MINUTES < quota.reported // 60
    return lost or counted - quota.reported // 60 > ROUNDING_MINUTES + max(0, quota.available) // 600


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What accounting and controller say of one account at one moment.

    runs      all job runs of the account since it exists
    before, after   the controller's counters read before and after the runs
    settled   the controller holds nothing back for slurmdbd, and both name the same running jobs
    """

    runs: Sequence[JobRun]
    before: Counters
    after: Counters
    settled: bool


def counting_shift(snapshot: Snapshot, tres: str) -> int:
    """By how many minutes SLURM's counting of a TRES differs from its accounting; 0 within rounding.

    Counted and committed minutes together do not move while a job runs; they are compared with what ended jobs used
    and running ones may use. A difference in SLURM's disfavour (it counted less) always counts; one that gives room
    only when nothing moved meanwhile.
    """
    seconds = 0
    unlimited = False
    for run in snapshot.runs:
        amount = run.tres.get(tres, 0)
        if run.end is not None:
            seconds += amount * run.counted
        elif amount:
            unlimited = unlimited or run.limit is None
            seconds += amount * max((run.limit or 0) - (run.counted_from - run.start), run.counted)
    seen = [
        counters.counted.get(tres, 0) + counters.committed.get(tres, 0)
        for counters in (snapshot.before, snapshot.after)
    ]
    shift = min(seen) - seconds // 60
    if abs(shift) <= ROUNDING_MINUTES:
        return 0
    if shift > 0 and (unlimited or not snapshot.settled or seen[0] != seen[1]):
        return 0
    return shift


# ------------------------------------------------------------------------------------------------------------ trouble


class Trouble(StrEnum):
    """What a failed command means for whoever asked."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    FORBIDDEN = "forbidden"
    JOBS_ACTIVE = "jobs_active"
    NOTHING = "nothing"
    REFUSED = "refused"


_SIGNS: Sequence[tuple[Trouble, re.Pattern[str]]] = (
    (
        Trouble.UNREACHABLE,
        re.compile(
            r"unable to contact|problem talking to the database|failed to open persistent connection"
            r"|connection (refused|timed out|reset)"
            r"|persistinit|socket timed out|zero bytes|slurmdbd.*(not running|unavailable)|munge|authentication|unable to establish"
            r"|could not resolve|no route to host|host key verification failed|permission denied \(publickey"
            r"|unable to process configuration|cannot contact|communication connection failure|transport endpoint",
            re.IGNORECASE,
        ),
    ),
    (
        Trouble.BUSY,
        re.compile(r"lock wait timeout|deadlock|database is busy|temporarily unable|try again", re.IGNORECASE),
    ),
    (Trouble.JOBS_ACTIVE, re.compile(r"job\(s\) active", re.IGNORECASE)),
    (
        Trouble.FORBIDDEN,
        re.compile(
            r"access/permission denied|permission denied|your user doesn't have privilege|only admins", re.IGNORECASE
        ),
    ),
    (Trouble.REFUSED, re.compile(r"doesn't exist|you gave a bad", re.IGNORECASE)),
    (Trouble.NOTHING, re.compile(r"nothing (modified|deleted|new added)", re.IGNORECASE)),
)


def trouble(output: str) -> Trouble:
    """What a command that did not succeed said, by its words: SLURM's tools answer 1 for everything."""
    return next((kind for kind, sign in _SIGNS if sign.search(output)), Trouble.REFUSED)


def first_words(output: str, length: int = 300) -> str:
    """What a tool said, on one line, for a person at the provider."""
    return " ".join(output.split())[:length] or "it said nothing"
