"""Settings that name files of the machine Bursar runs on are the platform operator's alone."""

import pytest
from django.test import Client

from bursar.catalogue import services
from bursar.catalogue.errors import OperatorSettings
from bursar.catalogue.models import Backend
from bursar.kernel.clock import now
from bursar.structure.models import Person
from bursar.structure.roles import Role
from tests.factories.catalogue import make_provider
from tests.factories.structure import make_membership, make_person

pytestmark = pytest.mark.django_db

PATHS = {"bin_path": "/tmp/mine", "slurm_conf": "/tmp/mine/slurm.conf"}


@pytest.fixture
def manager() -> Person:
    person = make_person()
    make_membership(person=person, role=Role.PROVIDER_MANAGER, scope=make_provider().organization)
    return person


def provider_of(person: Person):
    return person.memberships.get().organization.provider


def test_create_backend__a_manager_names_files_of_the_server__refused_and_nothing_written(manager: Person) -> None:
    with pytest.raises(OperatorSettings) as refusal:
        services.create_backend(
            provider=provider_of(manager), name="Cluster", plugin="slurm", values=PATHS, by=manager, at=now()
        )
    assert sorted(refusal.value.errors) == ["bin_path", "slurm_conf"]
    assert Backend.objects.count() == 0


def test_create_backend__a_manager_leaves_them_alone__made(manager: Person) -> None:
    backend = services.create_backend(
        provider=provider_of(manager), name="Cluster", plugin="slurm", values={}, by=manager, at=now()
    )
    assert backend.settings["bin_path"] == "/usr/bin"


SSH = {
    "reach": "ssh",
    "ssh_host": "login.example.org",
    "ssh_user": "root",
    "ssh_port": 2222,
    "ssh_known_hosts_file": "/tmp/mine/known_hosts",
}


def test_create_backend__a_manager_has_the_server_log_in_elsewhere__refused(manager: Person) -> None:
    with pytest.raises(OperatorSettings) as refusal:
        services.create_backend(
            provider=provider_of(manager), name="Cluster", plugin="slurm", values=SSH, by=manager, at=now()
        )
    assert sorted(refusal.value.errors) == sorted(SSH)
    assert Backend.objects.count() == 0


def test_edit_backend__reached_by_ssh__a_manager_does_not_turn_it_to_the_server_itself(manager: Person) -> None:
    backend = services.create_backend(
        provider=provider_of(manager), name="Cluster", plugin="slurm", values=SSH, by=None, at=now()
    )
    with pytest.raises(OperatorSettings) as refusal:
        services.edit_backend(backend=backend, values={**SSH, "reach": "local"}, by=manager, at=now())
    assert sorted(refusal.value.errors) == ["reach"]
    kept = services.edit_backend(backend=backend, values={**SSH, "tag": "other"}, by=manager, at=now())
    assert (kept.settings["reach"], kept.settings["tag"]) == ("ssh", "other")


def test_edit_backend__what_the_operator_set__a_manager_keeps_but_does_not_change(manager: Person) -> None:
    operator = make_person()
    make_membership(person=operator, role=Role.PLATFORM_OPERATOR, scope=None)
    backend = services.create_backend(
        provider=provider_of(manager), name="Cluster", plugin="slurm", values=PATHS, by=operator, at=now()
    )
    kept = services.edit_backend(backend=backend, values={**PATHS, "tag": "other"}, by=manager, at=now())
    assert (kept.settings["slurm_conf"], kept.settings["tag"]) == ("/tmp/mine/slurm.conf", "other")
    with pytest.raises(OperatorSettings):
        services.edit_backend(backend=backend, values={"bin_path": "/tmp/other"}, by=manager, at=now())
    backend.refresh_from_db()
    assert backend.settings["bin_path"] == "/tmp/mine"


def test_backend_page__a_manager_posts_a_path_all_the_same__the_default_stays(manager: Person, client: Client) -> None:
    client.force_login(manager)
    answer = client.post(
        "/provider/backends/new/?plugin=slurm",
        {
            "backend_name": "Cluster", "reach": "local", "parent_account": "root", "tag": "bursar",
            "organization_account": "{slug}-o{id}", "project_account": "{slug}-p{id}", "allocation_account": "{slug}-r{id}",
            "components": "cpu = cpu", "ssh_port": "22", "command_timeout_seconds": "1", "overlap_minutes": "15",
            "bin_path": "/tmp/mine", "plugin": "slurm",
        },
    )  # fmt: skip
    assert answer.status_code == 302, answer.content.decode()[:3000]
    assert Backend.objects.get().settings["bin_path"] == "/usr/bin"
