"""Between Bursar's words and SLURM's: with text that a real SLURM 22.05.8 printed."""

import string
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.plugins.contract import ComponentQuota, DesiredResource, Member, Ref, Severity
from bursar.plugins.slurm import mapping
from bursar.plugins.slurm.mapping import Counters, JobRun, LiveJob, Mark, Snapshot, Trouble
from bursar.plugins.slurm.settings import ACCOUNT_NAME, SlurmSettings
from tests.unit.plugins.contract.suite import HOSTILE_NAMES

SAFE = set(string.ascii_letters + string.digits + " ._:()/+-")


def resource(**changes: object) -> DesiredResource:
    fields: dict[str, object] = {
        "id": 17,
        "slug": "climate",
        "name": "Climate",
        "offering_slug": "hpc",
        "organization": Ref(2, "dtu", "DTU"),
        "projects": (Ref(4, "sea", "Sea"), Ref(9, "ice", "Ice")),
        "owner": None,
        "plan": "",
        "limits": {},
        "form": {},
    }
    return DesiredResource(**(fields | changes))  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_wanted_accounts__hostile_names_and_slugs__only_plain_text_remains(name: str) -> None:
    hostile = resource(slug=name, name=name, organization=Ref(2, name, name), projects=(Ref(4, name, name),))
    settings = SlurmSettings(allocation_account="{organization}.{project}.{offering}.{slug}-r{id}")
    for account in mapping.wanted_accounts(settings, hostile):
        assert ACCOUNT_NAME.fullmatch(account.name), account
        assert len(account.name) <= mapping.ACCOUNT_NAME_LENGTH
        assert set(account.organization) <= SAFE
        assert account.organization.strip() == account.organization != ""
        assert account.description.split()[0] == "bursar"


def test_wanted_accounts__organization_and_projects__chain_from_the_top() -> None:
    assert [(a.name, a.description) for a in mapping.wanted_accounts(SlurmSettings(), resource())] == [
        ("dtu-o2", "bursar organization 2"),
        ("sea-p4", "bursar project 4"),
        ("ice-p9", "bursar project 9"),
        ("climate-r17", "bursar resource 17"),
    ]


def test_wanted_accounts__personal_workspace__is_its_own_account_only() -> None:
    personal = resource(organization=None, projects=())
    assert [a.name for a in mapping.wanted_accounts(SlurmSettings(), personal)] == ["climate-r17"]


@given(st.text(), st.text(), st.integers(1, 10**12), st.integers(1, 10**12))
def test_account_name__any_slugs__are_names_and_differ_when_numbers_do(a: str, b: str, one: int, two: int) -> None:
    pattern = "{project}-{slug}-r{id}"
    first = mapping.account_name(pattern, id=one, slug=a, project=b)
    second = mapping.account_name(pattern, id=two, slug=a, project=b)
    assert ACCOUNT_NAME.fullmatch(first)
    assert len(first) <= mapping.ACCOUNT_NAME_LENGTH
    assert (first == second) == (one == two)


def test_account_name__long_slug__is_cut_and_the_number_stays() -> None:
    name = mapping.account_name("{slug}-r{id}", id=123456, slug="x" * 500)
    assert name == "x" * 52 + "-r123456"


@pytest.mark.parametrize(
    ("text", "slug"),
    [("Überfluß & Größe", "uberfluss-grosse"), ("--a__b--", "a-b"), ("", "x"), ("日本語", "x"), ("A.B", "a-b")],
)
def test_safe_slug__texts__become_names(text: str, slug: str) -> None:
    assert mapping.safe_slug(text) == slug


def test_users_of__members__only_plain_local_accounts_are_wanted() -> None:
    names = ["alice", "BOB", "", "root", "a,b", "x=y", "n[1-3]", "-i", "bob"]
    members = tuple(Member(number, "", "", name) for number, name in enumerate(names))
    users = mapping.users_of(resource(members=members))
    assert users.wanted == {"alice", "bob"}
    assert users.without_account == (2,)
    assert users.impossible == ("-i", "a,b", "n[1-3]", "root", "x=y")


# ------------------------------------------------------------------------------------------------------- reading

ASSOC_MGR = """\
Current Association Manager state

Association Records

ClusterName=test Account=t1 UserName= Partition= Priority=0 ID=5 SharesRaw/Norm/Level/Factor=1/0.17/6/0.00 \
UsageRaw/Norm/Efctv=618.00/0.04/0.04 ParentAccount=root(1) Lft=8 DefAssoc=No GrpJobs=0(2) GrpJobsAccrue=N(0) \
GrpSubmitJobs=N(0) GrpWall=N(0.47) GrpTRES=cpu=N(0),mem=N(0) GrpTRESMins=cpu=600(10),mem=N(19),energy=N(0),\
billing=N(10),gres/gpu=0(1) GrpTRESRunMins=cpu=N(1283),mem=N(25),gres/gpu=N(0) MaxJobs= MaxJobsAccrue=
ClusterName=test Account=t1 UserName=alice(1001) Partition= Priority=0 ID=7 GrpJobs=N(0) GrpTRESMins=cpu=5(7)
"""


def test_parse_counters__account_and_its_users__the_accounts_own_line_counts() -> None:
    assert mapping.parse_counters(ASSOC_MGR, "t1") == Counters(
        grp_jobs=0,
        limits={"cpu": 600, "gres/gpu": 0},
        counted={"cpu": 10, "mem": 19, "energy": 0, "billing": 10, "gres/gpu": 1},
        committed={"cpu": 1283, "mem": 25, "gres/gpu": 0},
    )
    assert mapping.parse_counters(ASSOC_MGR, "t2") is None
    assert mapping.parse_counters("No associations currently cached in Slurm.\n", "t1") is None


JOBS = """\
2|2|test|proj1|alice|main|normal|1795289069|1795289069|1795289084|10|00:00:05|5|billing=100,cpu=100,mem=100M,node=1
4|4|test|proj1|alice|main|normal|1795289069|1795289069|1795289078|9|00:00:00|2|billing=14,cpu=14,gres/gpu=6,mem=200M,node=2
5|5|test|proj1|alice|main|normal|1795289069|1795289069|1795289073|4|00:00:00|2|billing=50,cpu=50,mem=100M,node=1
5|5|test|proj1|alice|main|normal|1795289073|None|1795289106|0|00:00:00|2|billing=50
6|3_1|test|proj1|alice|main|normal|1795289069|1795289069|Unknown|5|00:00:00|2|billing=10,cpu=10,mem=1.50G,node=1
7|3_2|test|proj1|alice|main|normal|1795289069|Unknown|Unknown|0|00:00:00|Partition_Limit|
16|16|test|proj1|bob|main|normal|1795289564|1795289562|1795289622|60|00:00:00|3|cpu=10
"""


def runs() -> list[JobRun]:
    return mapping.parse_jobs(JOBS)


def test_parse_jobs__what_sacct_printed__what_never_started_is_left_out() -> None:
    assert [(r.job_id, r.shown, r.end, r.elapsed, r.suspended, r.limit) for r in runs()] == [
        ("2", "2", 1795289084, 10, 5, 300),
        ("4", "4", 1795289078, 9, 0, 120),
        ("5", "5", 1795289073, 4, 0, 120),
        ("6", "3_1", None, 5, 0, 120),
        ("16", "16", 1795289622, 60, 0, 180),
    ]
    assert runs()[1].tres == {"billing": 14, "cpu": 14, "gres/gpu": 6, "mem": 200, "node": 2}
    assert runs()[3].tres["mem"] == 1536


def test_parse_jobs__part_after_a_change_of_size__counts_from_the_change() -> None:
    assert (runs()[4].counted_from, runs()[4].counted) == (1795289564, 58)
    assert (runs()[0].counted_from, runs()[0].counted) == (1795289069, 10)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:05", 5), ("01:02:03", 3723), ("2-00:00:01", 172801), ("00:04.250", 4), ("", 0)],
)
def test_parse_duration__forms_of_slurm__are_seconds(text: str, seconds: int) -> None:
    assert mapping.parse_duration(text) == seconds


def test_parse_rows__description_with_line_end_and_bar__is_left_out() -> None:
    text = "t1|t1\nt6|line1\nline2|pipe é ?|t5\nx|y\n"
    assert [row["a"] for row in mapping.parse_rows(text, ("a", "b"))] == ["t1", "t6", "x"]


def test_parse_dbd_queue__sdiag__is_the_number() -> None:
    assert mapping.parse_dbd_queue("Server thread count:  1\nAgent queue size:     3\nDBD Agent queue size: 17\n") == 17


# --------------------------------------------------------------------------------------------------------- usage

NOBODY: list[LiveJob] = []


def test_usage_records__ended_runs__are_levels_of_their_own_scopes() -> None:
    records = mapping.usage_records(runs(), NOBODY, {"proj1": 3}, {"cpu": "cpu", "gpu": "gres/gpu"})
    assert [(r.scope, r.amount, r.username, r.job) for r in records] == [
        ("test:2:1795289069:cpu", 1000, "alice", "2"),
        ("test:4:1795289069:cpu", 126, "alice", "4"),
        ("test:4:1795289069:gpu", 54, "alice", "4"),
        ("test:5:1795289069:cpu", 200, "alice", "5"),
        ("test:16:1795289564:cpu", 580, "bob", "16"),
    ]
    assert {(r.absolute, r.resource_id) for r in records} == {(True, 3)}
    assert records[0].period_start == datetime.fromtimestamp(1795289069, UTC)
    assert records[0].period_end == datetime.fromtimestamp(1795289084, UTC)


def test_usage_records__running_in_accounting_only__is_not_told() -> None:
    # The controller has seen its end; slurmdbd has not, and would let it grow.
    def jobs_told(live: list[LiveJob]) -> set[str]:
        return {r.job for r in mapping.usage_records(runs(), live, {"proj1": 3}, {"cpu": "cpu"})}

    assert "3_1" not in jobs_told([])
    assert "3_1" not in jobs_told([LiveJob("6", 1795289069, None, "COMPLETING")])
    assert "3_1" not in jobs_told([LiveJob("6", 1795289999, None, "RUNNING")])  # its second run
    assert "3_1" in jobs_told([LiveJob("6", 1795289069, None, "RUNNING")])


def test_told_whole__accounting_knows_half_of_a_run__waits_a_minute_at_most() -> None:
    half, whole = replace(runs()[0], partition=""), runs()[1]
    assert half.end is not None
    assert mapping.told_whole([half, whole], half.end + 60) == [whole]
    assert mapping.told_whole([half, whole], half.end + 61) == [half, whole]


def test_usage_records__account_of_nobody__is_left_out() -> None:
    assert mapping.usage_records(runs(), NOBODY, {"other": 3}, {"cpu": "cpu"}) == []


def test_usage_records__content_differs__id_differs() -> None:
    # SLURM may say otherwise later (a user removed, a partition renamed): the ledger refuses one id with two contents.
    run = runs()[0]
    variants = [run, replace(run, user="1001"), replace(run, partition="old"), replace(run, elapsed=11)]
    ids = {mapping.usage_records([v], NOBODY, {"proj1": 3}, {"cpu": "cpu"})[0].id for v in variants}
    assert len(ids) == len(variants)
    scopes = {mapping.usage_records([v], NOBODY, {"proj1": 3}, {"cpu": "cpu"})[0].scope for v in variants}
    assert len(scopes) == 1


@given(st.integers(0, 10**6), st.integers(0, 10**4))
def test_told_seconds__as_a_job_runs_on__grows_and_stays_below(seconds: int, more: int) -> None:
    told = mapping.told_seconds(seconds)
    assert 0 <= told <= max(0, seconds - mapping.RUNNING_MARGIN_SECONDS)
    assert told <= mapping.told_seconds(seconds + more)
    assert seconds - told <= mapping.RUNNING_MARGIN_SECONDS + seconds // 16


def test_told_seconds__a_day_asked_each_second__makes_few_records() -> None:
    assert len({mapping.told_seconds(second) for second in range(86_400)}) < 340


@given(st.frozensets(st.integers(1, 10**9), max_size=50), st.integers(0, 10**10))
def test_mark__written_and_read__is_the_same(known: frozenset[int], since: int) -> None:
    assert mapping.parse_mark(str(Mark(since, known))) == Mark(since, known)


def test_mark__many_resources_in_a_row__is_short() -> None:
    assert str(Mark(5, frozenset(range(1, 10_001)) - {77})) == '{"since":5,"known":"1-76,78-10000"}'


@pytest.mark.parametrize(
    "text", ["", "nonsense", "-1", "[]", '{"since":1}', '{"since":"x","known":""}', '{"since":1,"known":"a-b"}']
)
def test_parse_mark__unreadable__is_the_beginning(text: str) -> None:
    assert mapping.parse_mark(text) == Mark()


def test_all_accounted__each_job_the_controller_knows__needs_its_end_in_accounting() -> None:
    ended = [run for run in runs() if run.end is not None]
    jobs = mapping.parse_live_jobs(
        "2|1795289069|1795289084|CANCELLED\n9|N/A|N/A|CANCELLED\n34|1795293512|1795293512|CANCELLED\n"
    )
    assert mapping.all_accounted(jobs, ended)
    assert not mapping.all_accounted(jobs, runs())  # one runs
    assert not mapping.all_accounted([*jobs, LiveJob("8", 1795289100, 1795289101, "FAILED")], ended)
    assert not mapping.all_accounted([*jobs, LiveJob("4", 1795289069, 1795289078, "COMPLETING")], ended)


# --------------------------------------------------------------------------------------------------------- quota


def cpu(available: int | None, reported: int | None = 0) -> ComponentQuota:
    return ComponentQuota("cpu", available, locked=False, reported=reported)


@pytest.mark.parametrize(
    ("quota", "counted", "shift", "minutes"),
    [
        (cpu(None), 5, 0, None),
        (cpu(0), 0, 0, 0),
        (cpu(59), 0, 0, 0),
        (cpu(60), 0, 0, 1),
        (cpu(3600, 0), 50, 0, 60),  # counted, not reported: not granted twice
        (cpu(600, 3000), 50, 0, 60),
        (cpu(30, 30), 0, 0, 1),  # rounded once, at the end
        (cpu(600, 3000), 0, -50, 10),  # the controller forgot it all
        (cpu(0, 3000), 0, -60, 0),
        (cpu(600, 3000), 70, 20, 80),
        (cpu(600, None), 50, 0, 60),  # not told what was reported
        (cpu(-5, 0), 0, 0, 0),
    ],
)
def test_limit_minutes__cases__exactly(quota: ComponentQuota, counted: int, shift: int, minutes: int | None) -> None:
    assert mapping.limit_minutes(quota, counted, shift) == minutes


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=6),
    st.lists(st.integers(0, 10**9), min_size=6, max_size=6),
)
def test_limit_minutes__several_resources_of_one_wallet__together_within_it(
    rows: list[tuple[int, int]], unreported: list[int]
) -> None:
    """Whatever has been used and not been reported yet: limits, less what was reported, add up to no more than the wallet has."""
    wallet = sum(available for available, _ in rows)
    limits = [mapping.limit_minutes(cpu(a, r), (r + u) // 60) for (a, r), u in zip(rows, unreported, strict=False)]
    assert sum((limit or 0) * 60 - r for limit, (_, r) in zip(limits, rows, strict=True)) <= wallet


@pytest.mark.parametrize(
    ("quota", "counted", "committed", "doubtful"),
    [
        (cpu(36_000, 0), 0, 0, False),
        (cpu(36_000, 600), 8, 0, False),  # rounding
        (cpu(36_000, 600), 7, 0, True),  # less counted than reported
        (cpu(36_000, 600), 0, 8, False),  # counted at the next tick: it runs
        (cpu(36_000, 0), 62, 0, False),
        (cpu(36_000, 0), 63, 0, True),  # more than a tenth of what is left
        (cpu(0, 600), 13, 0, True),
        (cpu(None, 600), 0, 0, False),
        (cpu(36_000, None), 0, 0, False),
    ],
)
def test_counting_doubtful__cases__exactly(quota: ComponentQuota, counted: int, committed: int, doubtful: bool) -> None:
    assert mapping.counting_doubtful(quota, counted, committed) is doubtful


def run(elapsed: int, *, end: int | None = 1, limit: int | None = 600) -> JobRun:
    return JobRun("1", "1", "test", "a", "u", "p", "q", 0, 0, end, elapsed, 0, limit, {"cpu": 10})


def counters(counted: int, committed: int = 0) -> Counters:
    return Counters(None, {}, {"cpu": counted}, {"cpu": committed})


def shift(job: JobRun, before: Counters, after: Counters | None = None, *, settled: bool = True) -> int:
    return mapping.counting_shift(Snapshot([job], before, after or before, settled), "cpu")


def test_counting_shift__agreement_within_rounding__is_none() -> None:
    assert shift(run(600), counters(100)) == 0
    assert shift(run(600), counters(98)) == 0


def test_counting_shift__controller_has_less__always_counts() -> None:
    assert shift(run(600), counters(40)) == -60
    assert shift(run(600), counters(40), counters(41), settled=False) == -60


def test_counting_shift__controller_has_more__counts_only_when_nothing_moved() -> None:
    assert shift(run(600), counters(130)) == 30
    assert shift(run(600), counters(130), settled=False) == 0
    assert shift(run(600), counters(130), counters(140)) == 0


def test_counting_shift__running_job__counted_and_committed_together_are_its_limit() -> None:
    for ticked in (0, 30, 100):
        assert shift(run(300, end=None), counters(ticked, 100 - ticked)) == 0
    assert shift(run(300, end=None, limit=None), counters(130, 0)) == 0  # without a time limit nothing can be said


# ------------------------------------------------------------------------------------------------ trouble, health


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sacctmgr: error: failed to open persistent connection to host:127.0.0.1:26819: Connection refused", Trouble.UNREACHABLE),
        ("sacct: error: Problem talking to the database: Connection refused", Trouble.UNREACHABLE),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", Trouble.UNREACHABLE),
        ("slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)", Trouble.UNREACHABLE),
        ("sacctmgr: fatal: Unable to process configuration file", Trouble.UNREACHABLE),
        (" Problem adding accounts: Access/permission denied", Trouble.FORBIDDEN),
        (" Error with request: Job(s) active, cancel job(s) before remove\n  JobID = 13  C = test  A = proj1", Trouble.JOBS_ACTIVE),
        (" Nothing modified", Trouble.NOTHING),
        (" Nothing deleted", Trouble.NOTHING),
        (" Nothing new added.", Trouble.NOTHING),
        (" This account 'nope' doesn't exist.\n   Contact your admin to add this account.\n Nothing new added.", Trouble.REFUSED),
        (" Parent account 'nope' doesn't exist on cluster test", Trouble.REFUSED),
        ("sacctmgr: error: You gave a bad qos 'nope'. Valid QOS's are normal", Trouble.REFUSED),
        ("", Trouble.REFUSED),
    ],
)  # fmt: skip
def test_trouble__what_slurm_said__has_its_meaning(said: str, kind: Trouble) -> None:
    assert mapping.trouble(said) is kind


GOOD = """\
Configuration data as of 2026-11-21T19:22:47
AccountingStorageEnforce = associations,limits,qos,safe
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = test
PriorityDecayHalfLife   = 00:00:00
PriorityType            = priority/multifactor
PriorityUsageResetPeriod = NONE
"""


def worst(text: str, **settings: object) -> dict[str, Severity]:
    findings = mapping.config_findings(mapping.parse_config(text), SlurmSettings(**settings))  # type: ignore[arg-type]
    assert all(f.advice for f in findings if f.severity is not Severity.OK)
    return {f.subject: f.severity for f in findings if f.severity is not Severity.OK}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", "", {}),
        ("associations,limits,qos,safe", "safe", {}),
        ("associations,limits,qos,safe", "ALL", {}),
        ("associations,limits,qos,safe", "associations,limits", {"AccountingStorageEnforce safe": Severity.WARNING}),
        (
            "associations,limits,qos,safe",
            "none",
            {
                "AccountingStorageEnforce associations": Severity.BROKEN,
                "AccountingStorageEnforce limits": Severity.BROKEN,
                "AccountingStorageEnforce safe": Severity.WARNING,
            },
        ),
        ("00:00:00", "7-00:00:00", {"PriorityDecayHalfLife": Severity.BROKEN}),
        ("NONE", "MONTHLY", {"PriorityUsageResetPeriod": Severity.BROKEN}),
        ("priority/multifactor", "priority/basic", {"PriorityType": Severity.BROKEN}),
        ("accounting_storage/slurmdbd", "(null)", {"AccountingStorageType": Severity.BROKEN}),
        (",gres/gpu", "", {"AccountingStorageTRES gres/gpu": Severity.BROKEN}),
    ],
)
def test_config_findings__one_thing_wrong__is_found(old: str, new: str, found: dict[str, Severity]) -> None:
    assert worst(GOOD.replace(old, new)) == found


def test_config_findings__another_cluster__is_found() -> None:
    assert worst(GOOD, cluster="test") == {}
    assert worst(GOOD, cluster="moon") == {"ClusterName": Severity.BROKEN}


def test_usage_factor_findings__factor_of_two__is_said() -> None:
    factors = {"normal": "1.000000", "gold": "2.000000"}
    assert [f.severity for f in mapping.usage_factor_findings(factors, "")] == [Severity.WARNING]
    assert mapping.usage_factor_findings(factors, "normal") == []
    assert mapping.unknown("gold,silver", "silver", known=factors) == ["silver"]
