"""People, their projects' groups, and who may use a resource, kept as entries of a directory."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec

from bursar.kernel.i18n import N_
from bursar.plugins.contract import (
    BackendSettings,
    BackendUnreachable,
    Billing,
    ComponentSpec,
    DesiredResource,
    Done,
    Finding,
    Group,
    Health,
    Member,
    Observation,
    Outcome,
    Plugin,
    Presence,
    Refused,
    Severity,
)
from bursar.plugins.ldap import mapping
from bursar.plugins.ldap.settings import LdapSettings

if TYPE_CHECKING:
    from bursar.plugins.ldap.directory import Directory, Session

_P = ParamSpec("_P")


def _answered(verb: Callable[_P, Outcome]) -> Callable[_P, Outcome]:
    """A directory that says no is an answer to the loop and not an accident."""

    @wraps(verb)
    def told(*args: _P.args, **kwargs: _P.kwargs) -> Outcome:
        from bursar.plugins.ldap.directory import DirectoryRefuses

        try:
            return verb(*args, **kwargs)
        except DirectoryRefuses as error:
            return Refused(f"The directory refuses: {error}.")

    return told


class LdapPlugin(Plugin):
    key: ClassVar[str] = "ldap"
    title: ClassVar[str] = N_("LDAP directory")
    summary: ClassVar[str] = N_("Keeps people and their projects’ groups in a directory from which machines know them.")
    version: ClassVar[str] = "1.0"
    Settings: ClassVar[type[BackendSettings]] = LdapSettings
    default_components: ClassVar[Sequence[ComponentSpec]] = (
        ComponentSpec("access", N_("Access"), "accesses", Billing.FIXED, "license", "accesses"),
    )
    default_order_form: ClassVar[Mapping[str, Any]] = {"type": "object", "properties": {}}
    settings: LdapSettings

    @property
    def _directory(self) -> "Directory":
        # The library is needed by who has such a directory, and not by everybody who lists the plugins.
        from bursar.plugins.ldap.directory import Directory

        return Directory(self.settings)

    # ---------------------------------------------------------------------------------------------------------- health
    def check_health(self) -> Health:
        from bursar.plugins.ldap.directory import DirectoryRefuses

        advice = N_("Look at the address, the certificates, the bind DN and the password in the settings.")
        try:
            with self._directory.open(schema=True) as session:
                return self._look(session)
        except BackendUnreachable as error:
            return Health((Finding(Severity.BROKEN, N_("Directory"), str(error), advice),))
        except DirectoryRefuses as error:
            return Health((Finding(Severity.BROKEN, N_("Directory"), f"It refuses: {error}.", advice),))

    def _look(self, session: "Session") -> Health:
        findings = [Finding(Severity.OK, N_("Directory"), f"It lets us in as {self.settings.bind_dn}.")]
        for title, base in ((N_("People"), self.settings.people_base), (N_("Groups"), self.settings.groups_base)):
            if session.exists(base):
                findings.append(Finding(Severity.OK, title, f"They stand below {base}."))
            else:
                told = f"There is no entry {base}, or we may not see it."
                findings.append(Finding(Severity.BROKEN, title, told, N_("Make it, or name another in the settings.")))
        known = session.server.schema.object_classes if session.server.schema else {}
        wanted = [*mapping.PERSON_CLASSES, "posixGroup", *self.settings.more_classes, self.settings.ssh_key_class]
        lacking = [name for name in wanted if name and known and name not in known]
        if lacking:
            told = f"The directory does not know the object classes {', '.join(lacking)}."
            findings.append(Finding(Severity.BROKEN, N_("Schema"), told, N_("Load their schema into the directory.")))
        info = session.server.info
        named = [*(info.vendor_name or ()), *(info.vendor_version or ())] if info else []
        protocols = sorted(str(one) for one in (info.supported_ldap_versions or ())) if info else []
        version = " ".join(map(str, named)) or f"LDAP {protocols[-1] if protocols else '3'}"
        return Health(tuple(findings), version=version[:80])

    # -------------------------------------------------------------------------------------------------------- accounts
    @_answered
    def ensure_account(self, member: Member) -> Outcome:
        username, uid = mapping.username_of(member), mapping.uid_of(self.settings, member)
        if not mapping.USERNAME.fullmatch(username):
            return Refused("This is no user name that machines take.")
        classes, values = mapping.person_entry(self.settings, member)
        with self._directory.open() as session:
            own = session.marked(self.settings.people_base, mapping.person_mark(self.settings, member.person_id))
            if own is not None and own.first("uid") != username:
                if member.username:
                    return Refused(f"This person stands in the directory as {own.first('uid')}.")
                username = own.first("uid")
                values = {name: given for name, given in values.items() if name not in {"uid", "homeDirectory"}}
            if own is not None and own.first("uidNumber") != str(uid):
                if member.uid is not None:
                    return Refused(f"This person stands in the directory with the number {own.first('uidNumber')}.")
                values = {name: given for name, given in values.items() if name not in {"uidNumber", "gidNumber"}}
            if own is not None:
                session.change(own, {"objectClass": _with(own.values.get("objectClass", []), classes), **values})
                return self._told(username, own.first("uidNumber"))
            if fault := self._taken(session, username, uid):
                return Refused(fault)
            session.add(self._dn_of(username), classes, values)
        return self._told(username, str(uid))

    def _told(self, username: str, number: str) -> Done:
        return Done(backend_id=username, state={"uid": int(number)} if number.isdecimal() else {})

    def _dn_of(self, username: str) -> str:
        from bursar.plugins.ldap.directory import child

        return child(self.settings.people_base, "uid", username)

    def _taken(self, session: "Session", username: str, uid: int) -> str:
        """Who else has the name or the number; "" when nobody."""
        from bursar.plugins.ldap.directory import equals

        if session.find(self.settings.people_base, [equals("uid", username)]):
            return f"There is an entry {username} that was not made from here, and it is not touched."
        if session.find(self.settings.people_base, ["(objectClass=posixAccount)", equals("uidNumber", uid)]):
            return f"The number {uid} belongs to an entry that was not made from here."
        return ""

    @_answered
    def block_account(self, member: Member) -> Outcome:
        with self._directory.open() as session:
            own = session.marked(self.settings.people_base, mapping.person_mark(self.settings, member.person_id))
            if own is not None:
                session.change(own, mapping.blocked_values(self.settings, member.person_id))
        return Done(backend_id=member.username)

    @_answered
    def remove_account(self, member: Member) -> Outcome:
        with self._directory.open() as session:
            own = session.marked(self.settings.people_base, mapping.person_mark(self.settings, member.person_id))
            if own is not None:
                session.remove(own.dn)
        return Done(backend_id=member.username)

    # ---------------------------------------------------------------------------------------------------------- groups
    @_answered
    def ensure_group(self, group: Group) -> Outcome:
        from bursar.plugins.ldap.directory import child, equals

        if not mapping.USERNAME.fullmatch(group.name):
            return Refused("This is no group name that machines take.")
        if not all(mapping.USERNAME.fullmatch(name) for name in group.usernames):
            return Refused("One of the members has no user name that machines take.")
        classes, values = mapping.group_entry(self.settings, group)
        base = self.settings.groups_base
        with self._directory.open() as session:
            own = session.marked(base, mapping.group_mark(self.settings, group.project_id))
            if own is not None:
                if (own.first("cn"), own.first("gidNumber")) != (group.name, str(group.gid)):
                    return Refused(
                        f"This project stands in the directory as {own.first('cn')}, {own.first('gidNumber')}."
                    )
                session.change(own, values)
                return Done(backend_id=group.name)
            if session.find(base, [equals("cn", group.name)]):
                return Refused(f"There is an entry {group.name} that was not made from here, and it is not touched.")
            if session.find(base, ["(objectClass=posixGroup)", equals("gidNumber", group.gid)]):
                return Refused(f"The number {group.gid} belongs to a group that was not made from here.")
            session.add(child(base, "cn", group.name), classes, values)
        return Done(backend_id=group.name)

    @_answered
    def remove_group(self, group: Group) -> Outcome:
        with self._directory.open() as session:
            own = session.marked(self.settings.groups_base, mapping.group_mark(self.settings, group.project_id))
            if own is not None:
                session.remove(own.dn)
        return Done(backend_id=group.name)

    # ------------------------------------------------------------------------------------------------------- resources
    # A resource is an entry that names who may use it: machines let in whom they find there.
    @_answered
    def ensure(self, resource: DesiredResource) -> Outcome:
        from bursar.plugins.ldap.directory import child

        name = f"{self.settings.mark}-r{resource.id}"
        mark = mapping.resource_mark(self.settings, resource.id)
        with self._directory.open() as session:
            if session.marked(self.settings.groups_base, mark) is None:
                dn = child(self.settings.groups_base, "cn", name)
                session.add(dn, ["organizationalRole"], {"cn": [name], "description": [mark]})
        return Done(backend_id=name, state=dict(resource.state), access={N_("Entry"): name})

    @_answered
    def remove(self, resource: DesiredResource) -> Outcome:
        with self._directory.open() as session:
            own = session.marked(self.settings.groups_base, mapping.resource_mark(self.settings, resource.id))
            if own is not None:
                session.remove(own.dn)
        return Done()

    def observe(self, resource: DesiredResource) -> Observation:
        from bursar.plugins.ldap.directory import DirectoryRefuses

        try:
            with self._directory.open() as session:
                own = session.marked(self.settings.groups_base, mapping.resource_mark(self.settings, resource.id))
        except DirectoryRefuses as error:
            return Observation(Presence.FAILED, f"The directory refuses: {error}.")
        if own is None:
            return Observation(Presence.ABSENT)
        return Observation(Presence.OK, facts={"members": len(own.values.get("roleOccupant", []))})

    @_answered
    def set_members(self, resource: DesiredResource) -> Outcome:
        names = [member.username for member in resource.members if member.username]
        if not all(mapping.USERNAME.fullmatch(name) for name in names):
            return Refused("One of the members has no user name that machines take.")
        with self._directory.open() as session:
            own = session.marked(self.settings.groups_base, mapping.resource_mark(self.settings, resource.id))
            if own is None:
                return Refused("The directory does not know this resource: it has to be provisioned first.")
            session.change(own, {"roleOccupant": sorted({self._dn_of(name) for name in names})})
        return Done()


def _with(held: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The object classes an entry has, and those it is to have: the directory adds those above them by itself."""
    known = {name.lower() for name in held}
    return [*held, *(name for name in wanted if name.lower() not in known)]
