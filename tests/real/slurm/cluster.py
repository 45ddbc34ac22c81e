"""A real SLURM on this machine for as long as a test session lasts: munge, MariaDB, slurmdbd, slurmctld and slurmd.

Needs Debian's packages and root, but neither systemd nor cgroups. Everything lives in one folder and listens on 127.0.0.1 on ports
of its own, so that two can run side by side. Its nodes pretend to have as many cores as they are told.

By hand: `python tests/real/slurm/cluster.py up /tmp/my-slurm`, later `... down /tmp/my-slurm`.
"""

import fcntl
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = {
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "slurmdbd": "slurmdbd",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
}
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_STAMP = ".bursar-test-slurm"
# What holds each daemon's number, in the order in which they are stopped.
_DAEMONS = {
    "slurmd-*": "slurmd",
    "slurmctld": "slurmctld",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadbd",
    "munged": "munged",
}


class NotHere(Exception):
    """This machine cannot run SLURM; the message says what is missing."""


def missing() -> str:
    """Why SLURM cannot run here; "" when it can."""
    packages = {package for program, package in PROGRAMS.items() if shutil.which(program, path=_PATH) is None}
    if packages:
        return f"the Debian packages {', '.join(sorted(packages))} are absent (make system-packages)"
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    return ""


@dataclass
class Cluster:
    """One SLURM. `start` may be called once; `stop` always."""

    folder: Path
    name: str = "test"
    nodes: int = 2
    cpus: int = 1024
    memory_mib: int = 64000
    gpus: int = 4
    overrides: dict[str, str] = field(default_factory=dict)
    database: subprocess.Popen[bytes] | None = None

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": _PATH, "LC_ALL": "C", "SLURM_CONF": str(self.slurm_conf), "HOME": "/"}

    # ------------------------------------------------------------------------------------------------------ up, down

    def start(self) -> None:
        if why := missing():
            raise NotHere(why)
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / _STAMP).exists():
            raise RuntimeError(f"{self.folder} is not empty and was not made by these tests")
        if self.folder.exists():
            self.stop()
        self._lay_out()
        self._start_munge()
        self._start_mariadb()
        self.start_dbd()
        self.run("sacctmgr", "-i", "add", "cluster", self.name)  # before the controller's first start
        self.start_controller()
        self._start_nodes()

    def stop(self) -> None:
        """Stop the daemons by their own numbers and take the folder away."""
        if not (self.folder / _STAMP).exists():
            return
        if (self._pid_file("slurmctld")).exists():
            # Steps outlive slurmd, so jobs go first.
            for state in ("PENDING", "RUNNING", "SUSPENDED"):
                self.run("scancel", f"--state={state}", check=False)
            deadline = time.monotonic() + 15
            while self.run("squeue", "-h", check=False).strip() and time.monotonic() < deadline:
                time.sleep(0.2)
        for pattern, daemon in _DAEMONS.items():
            for pid_file in sorted(self.folder.glob(f"run/{pattern}.pid")):
                self._end(pid_file, daemon)
        if self.database is not None:
            self.database.wait(timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, pid_file: Path, daemon: str, how: int = signal.SIGTERM) -> None:
        pid = _number(pid_file)
        pid_file.unlink(missing_ok=True)
        if pid is None or _command_of(pid) != daemon:
            return
        os.kill(pid, how)
        deadline = time.monotonic() + 30
        while _command_of(pid) == daemon and not _is_dead(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _lay_out(self) -> None:
        spools = (f"spool/n{number}" for number in range(1, self.nodes + 1))
        for part in ("run", "log", "db", "db-tmp", "state", "munge", "gpu", *spools):
            (self.folder / part).mkdir(parents=True, mode=0o755)
        (self.folder / _STAMP).touch()
        self.folder.chmod(0o755)
        for part, owner in (("munge", "munge"), ("db", "mysql"), ("db-tmp", "mysql"), ("state", "slurm")):
            shutil.chown(self.folder / part, owner)
        for part in ("run", "log"):
            (self.folder / part).chmod(0o1777)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        shutil.chown(key, "munge")
        for number in range(self.gpus):
            # slurmd wants a device for each GPU; this one swallows what is written, like /dev/null.
            os.mknod(self.folder / "gpu" / f"gpu{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        self.ports = _free_ports(3 + self.nodes)
        self.slurm_conf.write_text(self._slurm_conf())
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu/gpu[0-{self.gpus - 1}]\n")
        dbd_conf = self.folder / "slurmdbd.conf"
        dbd_conf.touch(mode=0o600)  # slurmdbd takes no other mode
        dbd_conf.write_text(self._slurmdbd_conf())
        shutil.chown(dbd_conf, "slurm")

    def _slurm_conf(self) -> str:
        folder, (_, dbd_port, controller_port, *node_ports) = self.folder, self.ports
        settings = {
            "ClusterName": self.name,
            "SlurmctldHost": "localhost(127.0.0.1)",
            "SlurmctldPort": controller_port,
            "SlurmUser": "slurm",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={folder}/munge/socket",
            "CredType": "cred/munge",
            "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
            "StateSaveLocation": folder / "state",
            "SlurmdSpoolDir": f"{folder}/spool/%n",
            "SlurmctldPidFile": folder / "run/slurmctld.pid",
            "SlurmdPidFile": f"{folder}/run/slurmd-%n.pid",
            "SlurmctldLogFile": folder / "log/slurmctld.log",
            "SlurmdLogFile": f"{folder}/log/slurmd-%n.log",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "SwitchType": "switch/none",
            "MpiDefault": "none",
            "MailProg": "/bin/true",
            "ReturnToService": 2,
            "SchedulerType": "sched/backfill",
            "SchedulerParameters": "sched_interval=2,bf_interval=2,sched_min_interval=100000",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "DefMemPerCPU": 1,
            "KillWait": 2,
            # Use is counted, and GrpTRESMins holds, with this one only.
            "PriorityType": "priority/multifactor",
            "PriorityDecayHalfLife": 0,
            "PriorityUsageResetPeriod": "NONE",
            "PriorityCalcPeriod": 1,
            "JobAcctGatherType": "jobacct_gather/none",
            "JobCompType": "jobcomp/none",
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": "127.0.0.1",
            "AccountingStoragePort": dbd_port,
            # With munge this is the socket for what goes to slurmdbd.
            "AccountingStoragePass": folder / "munge/socket",
            "AccountingStorageEnforce": "associations,limits,qos,safe",
            "AccountingStorageTRES": "gres/gpu",
            "GresTypes": "gpu",
            # Believe the sizes below rather than the machine.
            "SlurmdParameters": "config_overrides",
            **self.overrides,
        }
        lines = [f"{key}={value}" for key, value in settings.items()]
        host = socket.gethostname().partition(".")[0]
        for number, port in enumerate(node_ports, start=1):
            lines.append(
                f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={self.cpus} "
                f"RealMemory={self.memory_mib} Gres=gpu:{self.gpus} State=UNKNOWN"
            )
        lines.append(f"PartitionName=main Nodes=n[1-{self.nodes}] Default=YES MaxTime=1-0 OverSubscribe=NO State=UP")
        return "\n".join(lines) + "\n"

    def _slurmdbd_conf(self) -> str:
        folder = self.folder
        settings = {
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={folder}/munge/socket",
            "DbdHost": "localhost",
            "DbdAddr": "127.0.0.1",
            "DbdPort": self.ports[1],
            "CommunicationParameters": "NoInAddrAny",
            "SlurmUser": "slurm",
            "LogFile": folder / "log/slurmdbd.log",
            "PidFile": folder / "run/slurmdbd.pid",
            "StorageType": "accounting_storage/mysql",
            "StorageHost": "127.0.0.1",
            "StoragePort": self.ports[0],
            "StorageUser": "slurm",
            "StoragePass": "slurm",
            "StorageLoc": "slurm_acct_db",
        }
        return "".join(f"{key}={value}\n" for key, value in settings.items())

    def _pid_file(self, daemon: str) -> Path:
        return self.folder / "run" / f"{daemon}.pid"

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        self.run(
            "runuser", "-u", "munge", "--", "munged", f"--key-file={folder}/key", f"--socket={folder}/socket",
            f"--pid-file={folder}/pid", f"--log-file={folder}/log", f"--seed-file={folder}/seed",
        )  # fmt: skip
        self._pid_file("munged").symlink_to(folder / "pid")
        self._await("munge", lambda: self.succeeds("munge", "-S", str(folder / "socket"), "-n"))

    def _start_mariadb(self) -> None:
        folder, administer = self.folder, f"--socket={self.folder}/run/mysql.sock"
        # A server that starts takes away every temporary table in its tmpdir, also those of a neighbour that is at work.
        tmpdir = f"--tmpdir={folder}/db-tmp"
        self.run(
            "mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={folder}/db", tmpdir, "--skip-test-db",
            "--auth-root-authentication-method=normal", "--innodb-use-native-aio=0",
        )  # fmt: skip
        with (folder / "log/mariadbd.log").open("wb") as log:
            self.database = subprocess.Popen(
                [
                    "mariadbd", "--no-defaults", "--user=mysql", f"--datadir={folder}/db", tmpdir, administer,
                    "--bind-address=127.0.0.1", f"--port={self.ports[0]}", f"--pid-file={folder}/run/mariadbd.pid",
                    "--innodb-buffer-pool-size=128M", "--innodb-log-file-size=32M", "--innodb-lock-wait-timeout=900",
                    "--skip-log-bin", "--skip-name-resolve", "--innodb-use-native-aio=0", "--innodb-flush-log-at-trx-commit=2",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=self.environment,
            )  # fmt: skip
        self._await("MariaDB", lambda: self.succeeds("mariadb-admin", "--no-defaults", administer, "ping"))
        self.run(
            "mariadb", "--no-defaults", administer, "-e",
            "CREATE DATABASE slurm_acct_db; CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm'; "
            "GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1'",
        )  # fmt: skip

    def start_dbd(self) -> None:
        self.run("runuser", "-u", "slurm", "--", "slurmdbd")
        self._await("slurmdbd", lambda: self.succeeds("sacctmgr", "-n", "show", "cluster"))

    def stop_dbd(self) -> None:
        self._end(self._pid_file("slurmdbd"), "slurmdbd")

    def start_controller(self) -> None:
        self.run("runuser", "-u", "slurm", "--", "slurmctld")
        self._await("slurmctld", lambda: self.succeeds("scontrol", "ping"))

    def restart_controller(self) -> None:
        """End slurmctld in order and start it with what slurm.conf says now."""
        self._end(self._pid_file("slurmctld"), "slurmctld")
        self.start_controller()
        self.await_nodes()

    def kill_controller(self) -> None:
        """End slurmctld without giving it time to save anything."""
        self._end(self._pid_file("slurmctld"), "slurmctld", signal.SIGKILL)

    def _start_nodes(self) -> None:
        for number in range(1, self.nodes + 1):
            self.run("slurmd", "-N", f"n{number}")
        self.await_nodes()

    def await_nodes(self) -> None:
        def idle() -> bool:
            states = self.run("sinfo", "-h", "-N", "-o", "%t", check=False).split()
            return len(states) == self.nodes and not {
                state for state in states if state not in {"idle", "mix", "alloc"}
            }

        self._await("slurmd", idle)

    def _await(self, what: str, ready: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"{log.name}: {log.read_text(errors='replace')[-1500:]}"
                    for log in sorted(self.folder.glob("log/*.log"))
                )
                raise RuntimeError(f"{what} did not come up in {seconds} s\n{logs}")
            time.sleep(0.1)

    # ----------------------------------------------------------------------------------------------------- commands

    def run(self, *argv: str, check: bool = True, user: str = "") -> str:
        words = ["runuser", "-u", user, "--", *argv] if user else list(argv)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=self.environment, cwd="/tmp",
            check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)} answered {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def succeeds(self, *argv: str) -> bool:
        try:
            self.run(*argv)
        except (RuntimeError, subprocess.TimeoutExpired):
            return False
        return True

    def submit(self, user: str, account: str, command: str, *options: str, minutes: int = 2) -> str:
        """Submit a job as a user; its number."""
        return self.run(
            "sbatch", "--parsable", "--output=/dev/null", "--export=NONE", f"--account={account}", f"--time={minutes}",
            "--mem=50M", *options, f"--wrap={command}", user=user,
        ).strip()  # fmt: skip

    def state(self, job: str) -> str:
        """A job's state as the controller knows it ("" when it forgot it), with what holds it: `PENDING AssocGrpJobsLimit`."""
        return self.run("squeue", "-h", "--array", "--states=all", f"--jobs={job}", "-o", "%T %r", check=False).strip()

    def await_state(self, job: str, *wanted: str, seconds: float = 40) -> str:
        """Wait until a job's state begins with one of these."""
        deadline = time.monotonic() + seconds
        while not (state := self.state(job)).startswith(wanted):
            if time.monotonic() > deadline:
                raise AssertionError(f"job {job} is {state!r}, not {' or '.join(wanted)}, after {seconds} s")
            time.sleep(0.1)
        return state

    def await_accounted(self, *jobs: str, seconds: float = 40) -> None:
        """Wait until the accounting database has all of each run of these jobs (and of all tasks of an array).

        When it knows the end, it may not know yet when the job had become eligible, and leaves it out of windows of time.
        """
        deadline = time.monotonic() + seconds
        while True:
            rows = self.run("sacct", "-aXDPn", "-j", ",".join(jobs), "-o", "JobID,Eligible,End").split()
            if len(rows) >= len(jobs) and not any("Unknown" in row for row in rows):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"the ends of {jobs} are not accounted after {seconds} s: {rows}")
            time.sleep(0.1)

    def used_seconds(self, account: str, tres: str = "cpu", user: str = "") -> int:
        """What sacct says an account used, in TRES-seconds: read here in another way than the plugin does."""
        only = [f"--user={user}"] if user else []
        text = self.run(
            "sacct", "-aXDPn", "--noconvert", "-S", "1970-01-01", "-A", account, *only, "-o", "ElapsedRaw,AllocTRES"
        )
        total = 0
        for line in text.splitlines():
            elapsed, _, allocated = line.partition("|")
            for item in allocated.split(","):
                name, _, amount = item.partition("=")
                if name == tres:
                    total += int(elapsed) * int(amount.rstrip("M"))
        return total

    def counted(self, account: str) -> tuple[int, dict[str, int]]:
        """What the controller has counted: billing-seconds, exactly, and minutes per TRES, rounded down."""
        text = self.run("scontrol", "-o", "show", "assoc_mgr", f"account={account}", "flags=assoc")
        line = next(line for line in text.splitlines() if " UserName= " in line)
        facts = dict(token.partition("=")[::2] for token in line.split() if "=" in token)
        minutes = {
            item.partition("=")[0]: int(item.partition("(")[2].rstrip(")")) for item in facts["GrpTRESMins"].split(",")
        }
        return int(float(facts["UsageRaw/Norm/Efctv"].partition("/")[0])), minutes


class People:
    """Local users to submit jobs as. Those made here are taken away by the last of the sessions that run side by side."""

    _folder = Path("/tmp/bursar-test-people")

    def __init__(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._made = self._folder / "made"
        self._using = (self._folder / "using").open("w")
        fcntl.flock(self._using, fcntl.LOCK_SH)

    def add(self, *names: str) -> None:
        with (self._folder / "making").open("w") as making:
            fcntl.flock(making, fcntl.LOCK_EX)
            for name in names:
                try:
                    pwd.getpwnam(name)
                except KeyError:
                    with self._made.open("a") as made:
                        made.write(f"{name}\n")
                    command = ["useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
                    subprocess.run(command, check=True, env={"PATH": _PATH}, capture_output=True)

    def leave(self) -> None:
        try:
            fcntl.flock(self._using, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody else still needs them
        else:
            for name in set(self._made.read_text().split()) if self._made.exists() else ():
                subprocess.run(["userdel", name], check=False, env={"PATH": _PATH}, capture_output=True)
            self._made.unlink(missing_ok=True)
        finally:
            self._using.close()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text().strip())
    except (OSError, ValueError):
        return None


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def main(argv: Sequence[str]) -> int:
    if len(argv) != 2 or argv[0] not in {"up", "down"}:
        print(__doc__)
        return 2
    cluster = Cluster(Path(argv[1]))
    if argv[0] == "down":
        cluster.stop()
        return 0
    cluster.start()
    print(f"SLURM is up: export SLURM_CONF={cluster.slurm_conf}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
