"""Talks to one SLURM through its own commands: argument lists only, one answer each, a failure told by what it means."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from bursar.plugins.contract import BackendUnreachable
from bursar.plugins.slurm import mapping
from bursar.plugins.slurm.mapping import Association, Counters, JobRun, LiveJob, Trouble
from bursar.plugins.slurm.settings import SlurmSettings

# Times as seconds since 1970, whatever zone the machine lives in; messages in the language `mapping.trouble` reads.
_ENVIRONMENT = {"TZ": "UTC", "SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}
# An argument may be 128 KiB at most; names are up to 60 characters.
_NAMES_AT_ONCE = 500
_SSH_FAILED = 255


class SlurmRefused(Exception):
    """SLURM will not do this; the message says what it said."""


class SlurmBusy(Exception):
    """Not now: a job or a lock is in the way."""


class NothingDone(Exception):
    """SLURM found nothing to change: what was to be changed is absent, or what was to be added is there."""


class SlurmClient:
    """Runs SLURM's commands where the settings say.

    Commands that changed something are kept in `done`; with `dry_run` they are kept in `planned` instead of being run.
    """

    def __init__(self, settings: SlurmSettings) -> None:
        self.settings = settings
        self.planned: list[tuple[str, ...]] = []
        self.done: list[tuple[str, ...]] = []
        self._config: dict[str, str] | None = None

    # ------------------------------------------------------------------------------------------------------ running

    def read(self, *argv: str) -> str:
        """Run a command that changes nothing; what it printed.

        raises   BackendUnreachable, SlurmBusy, SlurmRefused
        """
        code, out, err = self._run(argv)
        if code == 0 and not _hidden_failure(err):
            return out
        raise self._failure(argv, out, err)

    def write(self, *argv: str) -> None:
        """Run a command that changes something, or only note it in a dry run.

        raises   BackendUnreachable, SlurmBusy, SlurmRefused, NothingDone
        """
        if self.settings.dry_run:
            self.planned.append(argv)
            return
        code, out, err = self._run(argv)
        if code != 0:
            raise self._failure(argv, out, err)
        self.done.append(argv)

    def _failure(self, argv: Sequence[str], out: str, err: str) -> Exception:
        said = f"{argv[0]}: {mapping.first_words(err + ' ' + out)}"
        match mapping.trouble(err + "\n" + out):
            case Trouble.UNREACHABLE:
                return BackendUnreachable(said)
            case Trouble.BUSY | Trouble.JOBS_ACTIVE:
                return SlurmBusy(said)
            case Trouble.NOTHING:
                return NothingDone(said)
            case _:
                return SlurmRefused(said)

    def command_line(self, argv: Sequence[str]) -> list[str]:
        """The argument list that is executed here for a SLURM command.

        ssh hands what it is given to the shell of the other side as one text: each word is quoted for it.
        """
        settings = self.settings
        environment = dict(_ENVIRONMENT)
        if settings.slurm_conf:
            environment["SLURM_CONF"] = settings.slurm_conf
        program = f"{settings.bin_path.rstrip('/')}/{argv[0]}" if settings.bin_path else argv[0]
        words = ["env", *(f"{key}={value}" for key, value in environment.items()), program, *argv[1:]]
        if settings.reach == "local":
            return words
        patience = min(settings.command_timeout_seconds, 15)
        options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"ConnectTimeout={patience}", "ServerAliveInterval=10"]
        if settings.ssh_known_hosts_file:
            options.append(f"UserKnownHostsFile={_ssh_value(settings.ssh_known_hosts_file)}")
        if settings.ssh_key_file:
            options += [f"IdentityFile={_ssh_value(settings.ssh_key_file)}", "IdentitiesOnly=yes"]
        ssh = ["ssh", "-T", "-p", str(settings.ssh_port)]
        for option in options:
            ssh += ["-o", option]
        if settings.ssh_user:
            ssh += ["-l", settings.ssh_user]
        return [*ssh, "--", settings.ssh_host, shlex.join(words)]

    def _run(self, argv: Sequence[str]) -> tuple[int, str, str]:
        for word in argv:
            if "\0" in word or "\n" in word:
                raise SlurmRefused(f"{argv[0]}: a line end within an argument")
        line = self.command_line(argv)
        try:
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": os.environ.get("HOME", "/")},
            )
        except OSError as fault:
            raise BackendUnreachable(f"{line[0]} cannot be started: {fault.strerror}") from fault
        try:
            out, err = process.communicate(timeout=self.settings.command_timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise BackendUnreachable(
                f"{argv[0]} did not answer within {self.settings.command_timeout_seconds} s"
            ) from None
        said = err.decode(errors="replace")
        if process.returncode in {126, 127}:
            raise BackendUnreachable(f"{argv[0]}: {mapping.first_words(said)}")
        if self.settings.reach == "ssh" and process.returncode == _SSH_FAILED and "slurm" not in said.lower():
            raise BackendUnreachable(f"ssh {self.settings.ssh_host}: {mapping.first_words(said)}")
        return process.returncode, out.decode(errors="replace"), said

    # -------------------------------------------------------------------------------------------------------- asking

    def config(self) -> Mapping[str, str]:
        if self._config is None:
            self._config = mapping.parse_config(self.read("scontrol", "show", "config"))
        return self._config

    def cluster(self) -> str:
        """The cluster's name, as settings or controller say."""
        return self.settings.cluster or self.config().get("ClusterName", "")

    def clusters(self) -> set[str]:
        """The clusters slurmdbd knows."""
        return set(self.read("sacctmgr", "-nP", "show", "cluster", "format=Cluster").split())

    def qos(self) -> dict[str, str]:
        """QOS -> the factor its jobs' use is counted with."""
        text = self.read("sacctmgr", "-nP", "show", "qos", "format=Name,UsageFactor")
        return {row["name"]: row["factor"] for row in mapping.parse_rows(text, ("name", "factor"))}

    def rights(self) -> tuple[str, str]:
        """Who runs the commands, and their level in slurmdbd; root and SlurmUser are administrators anyway."""
        user = self.read("id", "-un").strip()
        if user in {"root", self.config().get("SlurmUser", "").partition("(")[0]}:
            return user, "Administrator"
        text = self.read("sacctmgr", "-nP", "show", "user", "where", f"name={user}", "format=User,AdminLevel")
        return user, next((row["level"] for row in mapping.parse_rows(text, ("user", "level"))), "")

    def descriptions(self, accounts: Iterable[str]) -> dict[str, str]:
        """Those of the accounts that slurmdbd has, on whatever cluster: name -> description."""
        text = self.read(
            "sacctmgr",
            "-nP",
            "show",
            "account",
            "where",
            f"name={','.join(sorted(accounts))}",
            "format=Account,Description",
        )
        return {row["account"]: row["description"] for row in mapping.parse_rows(text, ("account", "description"))}

    def marked(self, descriptions: Iterable[str]) -> list[Association]:
        """The accounts on this cluster that bear one of these descriptions, and the users in them."""
        rows = mapping.parse_associations(
            self.read(
                "sacctmgr",
                "-nP",
                "show",
                "account",
                "where",
                f"description={','.join(descriptions)}",
                "withassoc",
                f"format={','.join(mapping.ASSOCIATION_FIELDS)}",
            )
        )
        # An account that is on no cluster any more is shown all the same, with what happens to lie in memory.
        cluster = self.cluster()
        return [row for row in rows if row.cluster == cluster]

    def accounts(self) -> list[Association]:
        """All accounts on this cluster, without their users."""
        rows = mapping.parse_associations(
            self.read(
                "sacctmgr",
                "-nP",
                "show",
                "account",
                "withassoc",
                "where",
                f"cluster={self.cluster()}",
                f"format={','.join(mapping.ASSOCIATION_FIELDS)}",
            )
        )
        cluster = self.cluster()
        return [row for row in rows if row.cluster == cluster and not row.user]

    def clusters_of(self, account: str) -> set[str]:
        """The clusters an account is on."""
        text = self.read("sacctmgr", "-nP", "show", "assoc", "where", f"account={account}", "format=Cluster")
        return set(text.split())

    def accounts_of(self, user: str) -> tuple[str, list[str]]:
        """A user's default account ("" for none) and the accounts they may use on this cluster."""
        fields = ("DefaultAccount", "Account")
        rows = mapping.parse_rows(
            self.read(
                "sacctmgr",
                "-nP",
                "show",
                "user",
                "where",
                f"name={user}",
                f"cluster={self.cluster()}",
                "withassoc",
                f"format={','.join(fields)}",
            ),
            fields,
        )
        default = next((row["DefaultAccount"] for row in rows if row["DefaultAccount"]), "")
        return default, sorted({row["Account"] for row in rows if row["Account"]})

    def counters(self, account: str) -> Counters | None:
        """What the controller has counted on an account; None while it does not know it."""
        text = self.read("scontrol", "--oneliner", "show", "assoc_mgr", f"account={account}", "flags=assoc")
        return mapping.parse_counters(text, account)

    def all_counters(self) -> dict[str, Counters]:
        """What the controller has counted, on all accounts at once."""
        return mapping.parse_all_counters(self.read("scontrol", "--oneliner", "show", "assoc_mgr", "flags=assoc"))

    def named(self, account: str) -> list[Association]:
        """The account of a name on this cluster, and the users in it."""
        rows = mapping.parse_associations(
            self.read(
                "sacctmgr",
                "-nP",
                "show",
                "account",
                "where",
                f"name={account}",
                "withassoc",
                f"format={','.join(mapping.ASSOCIATION_FIELDS)}",
            )
        )
        cluster = self.cluster()
        return [row for row in rows if row.cluster == cluster]

    def job_runs(self, accounts: Iterable[str], since: int) -> list[JobRun]:
        """Runs of jobs pending, running or ending at or after an instant; each run of a requeued or resized job by itself.

        For some seconds slurmdbd does not know when a job became eligible; one that ends within them is left out here, as
        sacct does with every window of time, and is found by its number.
        """
        start = datetime.fromtimestamp(max(0, since), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        runs: list[JobRun] = []
        for names in _chunks(sorted(accounts), _NAMES_AT_ONCE):
            runs += self._sacct(f"--accounts={','.join(names)}", f"--starttime={start}")
        return runs

    def job_runs_of(self, job_ids: Iterable[str]) -> list[JobRun]:
        """Runs of jobs by their numbers, whenever they were."""
        runs: list[JobRun] = []
        for numbers in _chunks(sorted(job_ids), _NAMES_AT_ONCE):
            runs += self._sacct(f"--jobs={','.join(numbers)}")
        return runs

    def _sacct(self, *which: str) -> list[JobRun]:
        text = self.read(
            "sacct",
            "--allusers",
            "--allocations",
            "--duplicates",
            "--noconvert",
            "--parsable2",
            "--noheader",
            f"--clusters={self.cluster()}",
            *which,
            f"--format={','.join(mapping.JOB_FIELDS)}",
        )
        return mapping.parse_jobs(text)

    def live_jobs(self, accounts: Iterable[str]) -> list[LiveJob]:
        """All jobs the controller knows of these accounts, those that ended some minutes ago included."""
        jobs = []
        for names in _chunks(sorted(accounts), _NAMES_AT_ONCE):
            text = self.read(
                "squeue",
                "--noheader",
                f"--account={','.join(names)}",
                "--states=all",
                f"--format={'|'.join(mapping.LIVE_FIELDS)}",
            )
            jobs += mapping.parse_live_jobs(text)
        return jobs

    def dbd_queue(self) -> int:
        """How many messages the controller holds back for slurmdbd."""
        return mapping.parse_dbd_queue(self.read("sdiag"))


def _hidden_failure(err: str) -> bool:
    """Some of SLURM's tools answer 0 though they reached nobody."""
    return bool(err.strip()) and mapping.trouble(err) is Trouble.UNREACHABLE


def _ssh_value(path: str) -> str:
    """A path as a value of an ssh option: there % and spaces mean something."""
    return '"' + path.replace("%", "%%") + '"'


def _chunks(names: Sequence[str], size: int) -> Iterator[list[str]]:
    pending = iter(names)
    while chunk := list(islice(pending, size)):
        yield chunk
