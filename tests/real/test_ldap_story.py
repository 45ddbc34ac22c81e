"""From an order to entries of a real directory: people, their project's group, and who is let in, through the whole loop."""

import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bursar.kernel.clock import stated_time
from bursar.provisioning import services
from bursar.provisioning.models import LocalAccount, Resource
from tests.factories.provisioning import make_resource, make_world, run_jobs
from tests.real.ldap.directory import PEOPLE, Slapd, missing, running

pytestmark = [pytest.mark.ldap, pytest.mark.django_db]


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    if why := missing():
        pytest.skip(f"not run here: {why}")
    folder = Path(tempfile.mkdtemp(prefix="bursar-ldap-", dir="/tmp"))
    try:
        with running(folder) as directory:
            yield directory
    finally:
        shutil.rmtree(folder)


def test_story__ordered_blocked_left_and_ended__stands_in_the_directory(slapd: Slapd, at: datetime) -> None:
    with stated_time(at):
        world = make_world(plugin="ldap", values=slapd.settings(), at=at)
        for person, name in ((world.member, "Ada Lovelace"), (world.pi, "Anna Lovelace")):
            person.full_name = name
            person.save(update_fields=["full_name"])
        by = {"by": world.manager, "at": at}
        services.set_account_policy(backend=world.backend, naming="initial_last", arrival="on_request", **by)
        resource = make_resource(world)
        run_jobs()
        resource.refresh_from_db()
        assert resource.state == "ok"
        assert slapd.person("alovelace") == {}  # nobody has asked for an account

        for person in (world.member, world.pi):
            services.connect_account(backend=world.backend, person=person, by=person, at=at)
        run_jobs()
        ada = slapd.person("alovelace")
        assert (ada["cn"], ada["uidNumber"], ada["loginShell"]) == (["Ada Lovelace"], ["200000"], ["/bin/bash"])
        assert slapd.person("alovelace2")["uidNumber"] == ["200001"]
        group = world.project.groups.get().name
        assert slapd.group(group)["memberUid"] == ["alovelace", "alovelace2"]
        assert slapd.group(group)["gidNumber"] == ["300000"]
        entry = Resource.objects.get(pk=resource.pk).backend_id
        both = [f"uid=alovelace,{PEOPLE}", f"uid=alovelace2,{PEOPLE}"]
        assert slapd.group(entry)["roleOccupant"] == both

        who = {"backend": world.backend, "person": world.member, "at": at}
        services.block_account(**who, reason="Mining.", by=world.manager)
        run_jobs()
        assert slapd.person("alovelace")["loginShell"] == ["/sbin/nologin"]
        assert slapd.group(group)["memberUid"] == ["alovelace2"]
        assert slapd.group(entry)["roleOccupant"] == both[1:]
        services.unblock_account(**who, by=world.manager)
        run_jobs()
        assert slapd.person("alovelace") == ada
        assert slapd.group(group)["memberUid"] == ["alovelace", "alovelace2"]

        services.disconnect_account(**who, by=world.member)
        run_jobs()
        assert slapd.person("alovelace") == {}
        services.connect_account(**who, by=world.member)
        run_jobs()
        assert slapd.person("alovelace") == ada

        services.submit_termination(resource_id=resource.pk, by=None, at=at)
        run_jobs()
        assert Resource.objects.get(pk=resource.pk).state == "terminated"
        assert slapd.group(group) == {}
        assert slapd.group(entry) == {}
        assert (
            LocalAccount.objects.filter(state="active").count() == 2
        )  # the account is the person's, not the resource's
