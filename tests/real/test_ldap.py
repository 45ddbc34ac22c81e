"""The `ldap` plugin against a real OpenLDAP, over TLS: the contract, and what an entry then holds."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bursar.plugins.contract import BackendUnreachable, Done, Group, Member, Refused, Severity
from bursar.plugins.ldap.plugin import LdapPlugin
from bursar.plugins.ldap.settings import LdapSettings
from tests.real.ldap.directory import ADMIN, GROUPS, PASSWORD, PEOPLE, Slapd, make_certificate, missing, running
from tests.unit.plugins.contract import suite
from tests.unit.plugins.contract.suite import Case

pytestmark = pytest.mark.ldap


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    if why := missing():
        pytest.skip(f"not run here: {why}")
    # A socket's path may be 107 letters long at most, and pytest's own folders are longer.
    folder = Path(tempfile.mkdtemp(prefix="bursar-ldap-", dir="/tmp"))
    try:
        with running(folder) as directory:
            yield directory
    finally:
        shutil.rmtree(folder)


def plugin_for(slapd: Slapd, **changes: Any) -> LdapPlugin:
    return LdapPlugin(LdapSettings.model_validate(slapd.settings(**changes)))


class TestLdap(
    suite.Declares,
    suite.Reaches,
    suite.Provides,
    suite.MembersContract,
    suite.AccountsContract,
    suite.EndsAccountsContract,
    suite.GroupsContract,
):
    @pytest.fixture
    def case(self, slapd: Slapd) -> Case:
        return Case(
            plugin=plugin_for(slapd),
            secrets=[PASSWORD],
            unreachable=plugin_for(slapd, uri="ldap://127.0.0.1:9", timeout_seconds=1),
        )


ADA = Member(
    17, "ada@example.org", "Ada  King, Countess of Lovelace", "alovelace", ("ssh-ed25519 AAAA a",), uid=200_017
)


def test_ensure_account__new__stands_there_as_machines_read_it(slapd: Slapd) -> None:
    plugin = plugin_for(slapd, more_attributes={"employeeNumber": "{person_id}", "title": "{email}"})
    assert plugin.ensure_account(ADA) == Done(backend_id="alovelace", state={"uid": 200_017})
    assert slapd.person("alovelace") == {
        "dn": [f"uid=alovelace,{PEOPLE}"],
        "objectClass": ["inetOrgPerson", "posixAccount"],
        "uid": ["alovelace"],
        "cn": ["Ada King, Countess of Lovelace"],
        "sn": ["Lovelace"],
        "uidNumber": ["200017"],
        "gidNumber": ["200017"],
        "homeDirectory": ["/home/alovelace"],
        "loginShell": ["/bin/bash"],
        "description": ["bursar person 17"],
        "mail": ["ada@example.org"],
        "employeeNumber": ["17"],
        "title": ["ada@example.org"],
    }


def test_account__blocked_let_in_and_removed__keeps_name_and_number(slapd: Slapd) -> None:
    plugin = plugin_for(slapd)
    member = replace(ADA, person_id=18, username="bking", uid=200_018)
    plugin.ensure_account(member)
    assert isinstance(plugin.block_account(replace(member, blocked=True)), Done)
    entry = slapd.person("bking")
    assert (entry["loginShell"], entry["description"]) == (["/sbin/nologin"], ["bursar person 18", "bursar blocked"])
    assert isinstance(plugin.ensure_account(member), Done)
    entry = slapd.person("bking")
    assert (entry["loginShell"], entry["description"]) == (["/bin/bash"], ["bursar person 18"])
    assert isinstance(plugin.remove_account(member), Done)
    assert slapd.person("bking") == {}
    assert plugin.ensure_account(member) == Done(backend_id="bking", state={"uid": 200_018})


def test_ensure_account__entry_of_somebody_else__is_never_touched(slapd: Slapd) -> None:
    plugin, before = plugin_for(slapd), slapd.person("alice")
    thief = replace(ADA, person_id=19, username="alice", uid=200_019)
    refused = Refused("There is an entry alice that was not made from here, and it is not touched.")
    assert plugin.ensure_account(thief) == refused
    number = replace(ADA, person_id=19, username="calice", uid=20_001)
    assert plugin.ensure_account(number) == Refused("The number 20001 belongs to an entry that was not made from here.")
    assert isinstance(plugin.block_account(thief), Done)  # nothing of ours is there
    assert isinstance(plugin.remove_account(thief), Done)
    assert slapd.person("alice") == before
    assert slapd.person("calice") == {}


def test_ensure_account__another_name_or_number_for_one_who_is_there__is_refused(slapd: Slapd) -> None:
    plugin = plugin_for(slapd)
    member = replace(ADA, person_id=20, username="dking", uid=200_020)
    plugin.ensure_account(member)
    before = slapd.person("dking")
    answer = plugin.ensure_account(replace(member, username="eking"))
    assert answer == Refused("This person stands in the directory as dking.")
    answer = plugin.ensure_account(replace(member, uid=200_021))
    assert answer == Refused("This person stands in the directory with the number 200020.")
    assert slapd.person("dking") == before


def test_ensure_account__changed_person__is_written_and_what_others_added_stays(slapd: Slapd) -> None:
    plugin = plugin_for(slapd)
    member = replace(ADA, person_id=21, username="fking", uid=200_021)
    plugin.ensure_account(member)
    with plugin._directory.open() as session:
        session.connection.modify(f"uid=fking,{PEOPLE}", {"telephoneNumber": [("MODIFY_ADD", ["+47 1"])]})
    plugin.ensure_account(replace(member, email="new@example.org", full_name="Ada Byron"))
    entry = slapd.person("fking")
    assert (entry["mail"], entry["sn"], entry["telephoneNumber"]) == (["new@example.org"], ["Byron"], ["+47 1"])


def test_group__members__are_exact_and_it_goes(slapd: Slapd) -> None:
    plugin = plugin_for(slapd)
    group = Group(7, "sea-ice", "sea-ice", 300_007, ("bob", "ada"))
    assert plugin.ensure_group(group) == Done(backend_id="sea-ice")
    assert slapd.group("sea-ice") == {
        "dn": [f"cn=sea-ice,{GROUPS}"],
        "objectClass": ["posixGroup"],
        "cn": ["sea-ice"],
        "gidNumber": ["300007"],
        "memberUid": ["ada", "bob"],
        "description": ["bursar project 7"],
    }
    plugin.ensure_group(replace(group, usernames=("cleo",)))
    assert slapd.group("sea-ice")["memberUid"] == ["cleo"]
    plugin.ensure_group(replace(group, usernames=()))
    assert "memberUid" not in slapd.group("sea-ice")
    assert plugin.remove_group(group) == Done(backend_id="sea-ice")
    assert slapd.group("sea-ice") == {}


def test_group__of_somebody_else__is_never_touched(slapd: Slapd) -> None:
    plugin, before = plugin_for(slapd), slapd.group("staff")
    group = Group(8, "staff", "staff", 300_008, ("mallory",))
    answer = plugin.ensure_group(group)
    assert answer == Refused("There is an entry staff that was not made from here, and it is not touched.")
    answer = plugin.ensure_group(replace(group, name="crew", gid=20_000))
    assert answer == Refused("The number 20000 belongs to a group that was not made from here.")
    assert isinstance(plugin.remove_group(group), Done)
    assert slapd.group("staff") == before


def test_set_members__of_a_resource__are_the_entries_of_its_people(slapd: Slapd) -> None:
    case = Case(plugin=plugin_for(slapd), first_id=5000)
    resource = case.provisioned()
    case.plugin.set_members(resource)  # type: ignore[attr-defined]
    assert slapd.group(resource.backend_id)["roleOccupant"] == [f"uid=ada,{PEOPLE}"]
    case.plugin.set_members(replace(resource, members=()))  # type: ignore[attr-defined]
    assert "roleOccupant" not in slapd.group(resource.backend_id)


def test_two_installations__on_one_directory__know_only_their_own(slapd: Slapd) -> None:
    ours, theirs = plugin_for(slapd), plugin_for(slapd, mark="other")
    member = replace(ADA, person_id=22, username="gking", uid=200_022)
    ours.ensure_account(member)
    assert isinstance(theirs.ensure_account(member), Refused)
    theirs.remove_account(member)
    assert slapd.person("gking")["description"] == ["bursar person 22"]


def test_check_health__good__says_what_it_found(slapd: Slapd) -> None:
    health = plugin_for(slapd).check_health()
    assert [(f.severity, f.message) for f in health.findings] == [
        (Severity.OK, f"It lets us in as {ADMIN}."),
        (Severity.OK, f"They stand below {PEOPLE}."),
        (Severity.OK, f"They stand below {GROUPS}."),
    ]


def test_check_health__base_or_schema_that_is_not_there__is_named(slapd: Slapd) -> None:
    health = plugin_for(slapd, people_base="ou=nowhere,dc=example,dc=org", ssh_key_class="ldapPublicKey").check_health()
    assert [f.message for f in health.findings if f.severity is Severity.BROKEN] == [
        "There is no entry ou=nowhere,dc=example,dc=org, or we may not see it.",
        "The directory does not know the object classes ldapPublicKey.",
    ]


def test_open__wrong_password__says_so_without_it(slapd: Slapd) -> None:
    plugin = plugin_for(slapd, bind_password="a wrong secret")
    with pytest.raises(BackendUnreachable) as raised:
        plugin.ensure_account(ADA)
    assert str(raised.value) == f"The directory at {slapd.uri} does not take the bind DN and password."
    health = plugin.check_health()
    assert health.severity is Severity.BROKEN
    assert "a wrong secret" not in repr(health)


def test_open__certificate_of_an_authority_we_do_not_trust__is_refused(slapd: Slapd, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    stranger = plugin_for(slapd, ca_file=str(tmp_path / "server.pem"))
    with pytest.raises(BackendUnreachable):
        stranger.ensure_account(ADA)
    assert stranger.check_health().severity is Severity.BROKEN


def test_open__encrypted_from_the_first_byte__is_trusted_by_its_authority_alone(slapd: Slapd, tmp_path: Path) -> None:
    assert plugin_for(slapd, uri=slapd.tls_uri).check_health().severity is Severity.OK
    make_certificate(tmp_path)
    stranger = plugin_for(slapd, uri=slapd.tls_uri, ca_file=str(tmp_path / "server.pem"))
    with pytest.raises(BackendUnreachable):
        stranger.ensure_account(ADA)


def test_open__by_its_socket__needs_no_encryption(slapd: Slapd) -> None:
    plugin = plugin_for(slapd, socket=slapd.socket, uri="ldap://127.0.0.1:9", ca_file="")
    assert plugin.check_health().severity is Severity.OK


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uri": "ldap://ldap.example.org", "encrypt": False}, "only a directory on Bursar's own machine"),
        ({"uri": "http://127.0.0.1"}, "must be ldaps:// or ldap:// and a host"),
        ({"uri": "ldaps://me:secret@ldap.example.org"}, "must be a host and a port and nothing more"),
        ({"bind_password": ""}, "must not be empty"),
        ({"home_directory": "/home"}, "must be a whole path that names the person"),
        ({"home_directory": "/home/{person_id.__class__}"}, "may use only"),
        ({"more_attributes": {"uidNumber": "0"}}, "uidNumber is set by Bursar itself"),
        ({"more_attributes": {"x)(y": "0"}}, "is no name of an attribute"),
        ({"socket": "/tmp/a b"}, "must be a whole path"),
    ],
)
def test_settings__dangerous__are_refused(changes: dict[str, Any], said: str) -> None:
    good = {
        "bind_dn": ADMIN,
        "bind_password": PASSWORD,
        "people_base": PEOPLE,
        "groups_base": GROUPS,
    }
    LdapSettings.model_validate(good)
    with pytest.raises(ValidationError) as raised:
        LdapSettings.model_validate(good | changes)
    assert said in str(raised.value)
