"""The settings of one SLURM cluster."""

import re
import string
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from bursar.kernel.i18n import N_
from bursar.plugins.contract import OPERATOR_ONLY, BackendSettings

ACCOUNT_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_HOST = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TRES = re.compile(r"[a-z]+(/[A-Za-z0-9_.:-]+)?")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

ORGANIZATION_FIELDS = frozenset({"id", "slug"})
ALLOCATION_FIELDS = frozenset({"id", "slug", "organization", "project", "offering"})


class SlurmSettings(BackendSettings):
    """How to reach SLURM's commands, and how Bursar's things are called there."""

    reach: Annotated[
        Literal["local", "ssh"],
        Field(
            title=N_("Where the commands run"),
            description=N_("On this machine, or on another one over SSH."),
            json_schema_extra=dict(OPERATOR_ONLY),
        ),
    ] = "local"
    # With the machine's own key, so that whoever names the host or the user says where that key opens a door.
    ssh_host: Annotated[
        str,
        Field(
            title=N_("SSH host"),
            description=N_("A machine that has sacctmgr and sacct."),
            json_schema_extra=dict(OPERATOR_ONLY),
        ),
    ] = ""
    ssh_user: Annotated[str, Field(title=N_("SSH user"), json_schema_extra=dict(OPERATOR_ONLY))] = ""
    ssh_port: Annotated[int, Field(title=N_("SSH port"), ge=1, le=65535, json_schema_extra=dict(OPERATOR_ONLY))] = 22
    ssh_key_file: Annotated[
        str,
        Field(
            title=N_("SSH key file"),
            description=N_("Path of the private key on the machine Bursar runs on."),
            json_schema_extra=dict(OPERATOR_ONLY),
        ),
    ] = ""
    ssh_known_hosts_file: Annotated[
        str,
        Field(
            title=N_("SSH known hosts file"),
            description=N_("Holds the host's key: an unknown host is never trusted."),
            json_schema_extra=dict(OPERATOR_ONLY),
        ),
    ] = ""
    bin_path: Annotated[
        str,
        Field(
            title=N_("Folder of the commands"), description=N_("Absolute path."), json_schema_extra=dict(OPERATOR_ONLY)
        ),
    ] = "/usr/bin"
    slurm_conf: Annotated[
        str,
        Field(
            title=N_("SLURM_CONF"),
            description=N_("Path of slurm.conf, where it is not the usual one."),
            json_schema_extra=dict(OPERATOR_ONLY),
        ),
    ] = ""
    cluster: Annotated[
        str, Field(title=N_("Cluster"), description=N_("ClusterName of slurm.conf; empty: what the controller says."))
    ] = ""
    parent_account: Annotated[
        str, Field(title=N_("Parent account"), description=N_("An existing account; all others are made below it."))
    ] = "root"
    organization_account: Annotated[
        str, Field(title=N_("Account of an organization"), description=N_("A pattern of {slug} and {id}."))
    ] = "{slug}-o{id}"
    project_account: Annotated[
        str, Field(title=N_("Account of a project"), description=N_("A pattern of {slug} and {id}."))
    ] = "{slug}-p{id}"
    allocation_account: Annotated[
        str,
        Field(
            title=N_("Account of an allocation"),
            description=N_("What people give to sbatch: {slug}, {id}, {organization}, {project}, {offering}."),
        ),
    ] = "{slug}-r{id}"
    tag: Annotated[
        str,
        Field(
            title=N_("Mark"),
            description=N_(
                "Begins the description of each account made here, so that nobody else's account is ever touched. "
                "Two installations on one cluster need different ones."
            ),
            pattern=r"^[a-z0-9][a-z0-9-]{0,30}$",
        ),
    ] = "bursar"
    components: Annotated[
        dict[str, str],
        Field(
            title=N_("Components"),
            description=N_("Which TRES a component is: cpu, gres/gpu, mem (MiB), billing, node."),
            min_length=1,
        ),
    ] = {"cpu": "cpu", "gpu": "gres/gpu"}
    qos: Annotated[
        str, Field(title=N_("QOS"), description=N_("Names, separated by commas; empty: as the cluster gives them."))
    ] = ""
    default_qos: Annotated[str, Field(title=N_("Default QOS"))] = ""
    dry_run: Annotated[
        bool, Field(title=N_("Dry run"), description=N_("Change nothing; say which commands would have been run."))
    ] = False
    command_timeout_seconds: Annotated[int, Field(title=N_("Patience with a command, seconds"), ge=1, le=3600)] = 60
    overlap_minutes: Annotated[
        int,
        Field(
            title=N_("Overlap, minutes"),
            description=N_("How far before the last mark usage is read again; also how far clocks may differ."),
            ge=5,
            le=10080,
        ),
    ] = 15

    @field_validator("ssh_host", "ssh_user", "cluster", "default_qos")
    @classmethod
    def _plain_word(cls, value: str) -> str:
        if value and not (_HOST.fullmatch(value) or _USER.fullmatch(value)):
            raise ValueError("only letters, digits and . _ - are possible here, and it may not begin with -")
        return value

    @field_validator("ssh_key_file", "ssh_known_hosts_file", "bin_path", "slurm_conf")
    @classmethod
    def _absolute_path(cls, value: str) -> str:
        if value and (not value.startswith("/") or not value.isprintable()):
            raise ValueError("an absolute path is needed")
        return value

    @field_validator("parent_account")
    @classmethod
    def _account(cls, value: str) -> str:
        if not ACCOUNT_NAME.fullmatch(value):
            raise ValueError("this is not a name of a SLURM account (small letters, digits and . _ -)")
        return value

    @field_validator("qos")
    @classmethod
    def _qos_names(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",") if name.strip()]
        if any(not _NAME.fullmatch(name) for name in names):
            raise ValueError("names of QOS, separated by commas, are needed")
        return ",".join(names)

    @field_validator("components")
    @classmethod
    def _tres(cls, value: dict[str, str]) -> dict[str, str]:
        for key, tres in value.items():
            if not _TRES.fullmatch(tres):
                raise ValueError(f"{key}: {tres!r} is not a TRES (cpu, gres/gpu, mem, billing, node)")
        if len(set(value.values())) != len(value):
            raise ValueError("two components may not be the same TRES")
        return value

    @field_validator("organization_account", "project_account")
    @classmethod
    def _pattern(cls, value: str) -> str:
        return _checked_pattern(value, ORGANIZATION_FIELDS)

    @field_validator("allocation_account")
    @classmethod
    def _allocation_pattern(cls, value: str) -> str:
        return _checked_pattern(value, ALLOCATION_FIELDS)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.reach == "ssh" and not self.ssh_host:
            raise ValueError("a host is needed to reach SLURM over SSH")
        if self.default_qos and self.qos and self.default_qos not in self.qos.split(","):
            raise ValueError("the default QOS must be one of the QOS")
        patterns = (self.organization_account, self.project_account, self.allocation_account)
        if len(set(patterns)) != len(patterns):
            raise ValueError(
                "organization, project and allocation need different patterns: their numbers are counted apart"
            )
        return self


def _checked_pattern(value: str, allowed: frozenset[str]) -> str:
    try:
        pieces = list(string.Formatter().parse(value))
    except ValueError as fault:
        raise ValueError(f"this pattern cannot be read: {fault}") from fault
    used = {name for _, name, _, _ in pieces if name is not None}
    if not used <= allowed or any(form or conversion for _, _, form, conversion in pieces):
        raise ValueError(f"only {', '.join(sorted(f'{{{name}}}' for name in allowed))} are possible here")
    # Slugs are cut and cleaned, so two may become one; a number never does.
    if "id" not in used:
        raise ValueError("{id} is needed, so that no two accounts are ever called the same")
    return value
