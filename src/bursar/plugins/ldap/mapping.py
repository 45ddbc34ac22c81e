"""Between Bursar's words and a directory's: pure functions, nothing is asked.

Everything a person may have typed (names, mail addresses) passes through here before it becomes a value of an entry.
"""

import re
import unicodedata
from collections.abc import Mapping

from bursar.plugins.contract import Group, Member
from bursar.plugins.ldap.settings import LdapSettings

# What useradd takes; it is also safe in a DN and in a filter, where it is escaped all the same.
USERNAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
PERSON_CLASSES = ("inetOrgPerson", "posixAccount")
BLOCKED = "blocked"

Values = Mapping[str, list[str]]


def person_mark(settings: LdapSettings, person_id: int) -> str:
    return f"{settings.mark} person {person_id}"


def group_mark(settings: LdapSettings, project_id: int) -> str:
    return f"{settings.mark} project {project_id}"


def resource_mark(settings: LdapSettings, resource_id: int) -> str:
    return f"{settings.mark} resource {resource_id}"


def username_of(member: Member) -> str:
    """The name told, else one that is this person's by its number."""
    return member.username or f"u{member.person_id:06d}"


def uid_of(settings: LdapSettings, member: Member) -> int:
    return member.uid if member.uid is not None else settings.number_offset + member.person_id


def one_line(text: str, length: int = 200) -> str:
    """A person's text as a value: one line without characters that nobody sees; "" when nothing is left."""
    seen = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return " ".join(seen.split())[:length].strip()


def person_entry(settings: LdapSettings, member: Member) -> tuple[list[str], Values]:
    """The object classes and attributes of a person who may use their account."""
    username, uid = username_of(member), uid_of(settings, member)
    full_name = one_line(member.full_name) or username
    facts: dict[str, str | int] = {
        "username": username,
        "uid": uid,
        "person_id": member.person_id,
        "email": one_line(member.email, 320),
        "full_name": full_name,
    }
    values: dict[str, list[str]] = {
        "uid": [username],
        "cn": [full_name],
        "sn": [full_name.split()[-1]],
        "uidNumber": [str(uid)],
        "gidNumber": [str(settings.primary_group or uid)],
        "homeDirectory": [settings.home_directory.format(**facts)],
        "loginShell": [settings.login_shell],
        "description": [person_mark(settings, member.person_id)],
        # An address with other letters has no place in this attribute (IA5 string, RFC 4524).
        "mail": [str(facts["email"])] if str(facts["email"]).isascii() and facts["email"] else [],
    }
    classes = [*PERSON_CLASSES, *settings.more_classes]
    if settings.ssh_key_class:
        classes.append(settings.ssh_key_class)
        values["sshPublicKey"] = [key for key in member.ssh_keys if key.isascii() and key.isprintable()]
    for name, pattern in settings.more_attributes.items():
        value = pattern.format(**facts)
        values[name] = [value] if value else []
    return classes, values


def blocked_values(settings: LdapSettings, person_id: int) -> Values:
    """What is changed of a person who is blocked: no shell, and a word that says why there is none."""
    mark = person_mark(settings, person_id)
    return {"loginShell": [settings.blocked_shell], "description": [mark, f"{settings.mark} {BLOCKED}"]}


def group_entry(settings: LdapSettings, group: Group) -> tuple[list[str], Values]:
    """The object class and attributes of a project's group."""
    return ["posixGroup"], {
        "cn": [group.name],
        "gidNumber": [str(group.gid)],
        "memberUid": sorted(set(group.usernames)),
        "description": [group_mark(settings, group.project_id)],
    }
