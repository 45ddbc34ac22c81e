"""The pages of structure through Django's own client; what they look like is shown in a browser elsewhere."""

import pytest
from django.test import Client
from django.urls import reverse

from bursar.kernel import clock
from bursar.structure import services
from bursar.structure.roles import Role
from tests.factories.structure import (
    make_membership,
    make_operator,
    make_organization,
    make_project,
)

pytestmark = pytest.mark.django_db

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMaXgGsi/eCI5DJbKeN7OqfBkNWOIXE21MijSjbg6H79 laptop"


@pytest.fixture
def as_of(client: Client):
    def log_in(person) -> Client:
        client.force_login(person)
        return client

    return log_in


@pytest.fixture(autouse=True)
def _stands_still(at):
    with clock.stated_time(at):
        yield


@pytest.mark.slow
def test_every_page__of_an_owner__answers(as_of, at) -> None:
    operator = make_operator()
    organization = make_organization(owner=operator)
    project = make_project(organization=organization, pi=operator, description="**Bold** <script>")
    child = make_project(parent=project)
    member = make_membership(scope=project)
    make_membership(scope=organization, role=Role.BILLING_VIEWER)
    sent = services.invite(email="n@example.org", role=Role.PROJECT_MEMBER, scope=project, by=operator, at=at)
    services.create_token(person=operator, name="t", scopes=["read"], days=3, by=operator, at=at)
    client = as_of(operator)
    addresses = [
        reverse("home"),
        reverse("organizations"),
        reverse("organization_create"),
        *(
            reverse(name, args=[organization.pk])
            for name in (
                "organization",
                "organization_edit",
                "organization_projects",
                "project_create",
                "organization_members",
                "organization_invite",
                "organization_history",
            )
        ),
        reverse("projects"),
        *(
            reverse(name, args=[project.pk])
            for name in (
                "project",
                "project_edit",
                "project_end",
                "subproject_create",
                "project_members",
                "project_invite",
                "project_hand_over",
                "project_history",
            )
        ),
        reverse("project", args=[child.pk]),
        reverse("memberships"),
        reverse("membership_edit", args=[member.pk]),
        reverse("invitation_accept", args=[sent.token]),
        reverse("profile"),
        reverse("ssh_key_add"),
        reverse("tokens"),
        reverse("token_create"),
        reverse("operator_people"),
        reverse("operator_invite"),
        reverse("operator_person", args=[member.person_id]),
        reverse("operator_events"),
        reverse("account_email"),
        reverse("account_change_password"),
        reverse("mfa_index"),
        reverse("socialaccount_connections"),
        reverse("account_logout"),
    ]
    for address in addresses:
        answer = client.get(address, follow=address.startswith("/account"))
        assert answer.status_code == 200, address
        assert b"<script>alert" not in answer.content


def test_login_pages__for_a_stranger__answer(client) -> None:
    for name in (
        "account_login",
        "account_signup",
        "account_reset_password",
        "account_reset_password_done",
        "account_email_verification_sent",
        "account_inactive",
        "socialaccount_login_cancelled",
    ):
        answer = client.get(reverse(name))
        assert answer.status_code in {200, 401}, (name, answer.status_code)
        assert answer.content.count(b"<h1") == 1, name
        assert b'class="card' in answer.content, name
