"""What the plugin and the simulator's backend say to each other; both read and write these shapes, strictly.

Instants are whole microseconds since 1970 in UTC, so that they are equal on both sides to the last digit.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
TEXT_LENGTH_MAX: Final = 200
CORE_SECONDS_MAX: Final = 2**63 - 1

# A text for people: no control characters, so that it is one line in a table and in a log.
Text = Annotated[str, StringConstraints(max_length=TEXT_LENGTH_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
Title = Annotated[Text, StringConstraints(min_length=1)]
AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Username = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]
# One public key in one line, without options before it; checked in linear time. "" = nobody signs in by key.
SshPublicKey = Annotated[
    str,
    StringConstraints(
        max_length=4096,
        pattern=r"^((ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [^\x00-\x1f\x7f]*)?)?$",
    ),
]
CoreSeconds = Annotated[int, Field(ge=0, le=CORE_SECONDS_MAX)]
Microseconds = Annotated[int, Field(ge=0, le=CORE_SECONDS_MAX)]

FLAVORS: Final[dict[str, int]] = {"sim.small": 1, "sim.medium": 2, "sim.large": 4, "sim.xlarge": 8}
"""Flavor -> cores of a virtual machine."""


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PersonWanted(Wire):
    """username   the name it is to bear; None = the site gives one"""

    email: Annotated[str, StringConstraints(max_length=320)]
    full_name: Text
    username: Username | None = None


class PersonShown(Wire):
    username: Username


class AccountWanted(Wire):
    """kind   group = an organization or project in the tree; hpc = runs jobs; vm = holds one virtual machine
    cap_core_seconds   the most it may ever use, beside its quota; None = no such cap
    """

    kind: Literal["group", "hpc", "vm"]
    title: Title
    parent: AccountName | None = None
    storage_gb: Annotated[int, Field(ge=0, le=CORE_SECONDS_MAX)] = 0
    cap_core_seconds: CoreSeconds | None = None


class MachineWanted(Wire):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
    flavor: Literal["sim.small", "sim.medium", "sim.large", "sim.xlarge"]
    ssh_key: SshPublicKey = ""


class MachineShown(Wire):
    """state   building | active | stopped (paused) | held (its quota is used up) | deleted"""

    id: int
    name: Text
    flavor: Text
    cores: int
    state: Literal["building", "active", "stopped", "held", "deleted"]
    address: Text
    authorized: list[Username]


class AccountShown(Wire):
    """limit_core_seconds   the most it may use in all, what it has used already included; None = no limit"""

    name: AccountName
    kind: Literal["group", "hpc", "vm"]
    title: Text
    parent: AccountName | None
    closed: bool
    locked: bool
    paused: bool
    limit_core_seconds: int | None
    counted_core_seconds: int
    storage_gb: int
    members: list[Username]
    pretend_users: bool
    jobs_running: int
    jobs_pending: int
    machine: MachineShown | None


class Accounts(RootModel[list[AccountShown]]):
    """All accounts, by name."""


class MembersWanted(Wire):
    usernames: Annotated[list[Username], Field(max_length=10_000)]


class QuotaWanted(Wire):
    """available   core-seconds beyond those reported that may be used; None = no limit
    reported    core-seconds that Bursar knows of; None = all that are counted now
    """

    available: CoreSeconds | None
    locked: bool
    reported: CoreSeconds | None = None


class Switch(Wire):
    on: bool


class JobWanted(Wire):
    account: AccountName
    username: Username
    name: Title
    cores: Annotated[int, Field(ge=1, le=100_000)]
    seconds: Annotated[int, Field(ge=1, le=30 * 86_400)]


class JobShown(Wire):
    id: int
    account: AccountName
    username: Username
    name: Text
    cores: int
    seconds: int
    state: Literal["pending", "running", "completed", "cancelled"]
    reason: Text
    elapsed_seconds: int
    nodes: Text


class UsageAsked(Wire):
    """accounts   whose usage
    after      what ended up to here was told before; None = from the beginning
    as_of      the instant to look at, as the first page answered it; None on the first page
    from_run   where this page begins
    """

    accounts: Annotated[list[AccountName], Field(max_length=100_000)]
    after: Microseconds | None = None
    as_of: Microseconds | None = None
    from_run: Annotated[int, Field(ge=0)] = 0


class Sample(Wire):
    """How far a run (a job, a stretch of a machine's life) had come at `end`; run and seconds name the fact."""

    run: int
    account: AccountName
    username: Annotated[str, StringConstraints(max_length=32)]
    label: Text
    cores: Annotated[int, Field(ge=1)]
    seconds: Annotated[int, Field(ge=1)]
    start: Microseconds
    end: Microseconds


class UsageTold(Wire):
    instance: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
    as_of: Microseconds
    samples: list[Sample]
    next_run: int | None


class Info(Wire):
    product: Text
    purpose: Text
    version: Text
    instance: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
    speed: Annotated[float, Field(gt=0)]
    cores: int
    jobs_running: int
    jobs_pending: int


class TroubleWanted(Wire):
    """What goes wrong with the next calls (the switch itself apart).

    fail      answers 500 without doing anything
    refuse    answers 422 without doing anything
    slow      waits `seconds` first
    drop      does what was asked and hangs up without an answer
    garbage   does what was asked and answers something that is not JSON
    """

    kind: Literal["fail", "refuse", "slow", "drop", "garbage"]
    calls: Annotated[int, Field(ge=0, le=10_000)]
    seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    path: Annotated[str, StringConstraints(max_length=200)] = ""


class Problem(Wire):
    error: Annotated[str, StringConstraints(max_length=1000)]
