import pytest
from django.core import mail
from django.db import connection
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.delivery import services as delivery
from bursar.delivery import tasks
from bursar.delivery.models import Mail
from bursar.structure import services
from bursar.structure.mail import MAIL_TASK, ask_for_mail
from bursar.structure.roles import Role
from tests.factories.structure import make_organization, make_person, make_project

pytestmark = pytest.mark.django_db


def jobs() -> list[ProcrastinateJob]:
    return list(ProcrastinateJob.objects.filter(task_name=MAIL_TASK).order_by("id"))


def test_mail_task__name__is_the_one_that_is_asked_for() -> None:
    assert tasks.send_mail.name == MAIL_TASK


def test_invite__job__holds_no_token_in_clear(at) -> None:
    project = make_project(pi=(pi := make_person()))
    sent = services.invite(email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)
    (job,) = jobs()
    assert job.queue_name == "mail"
    assert job.args["kind"] == "invitation"
    assert job.args["to_email"] == "new@example.org"
    assert sent.token not in str(job.args)
    assert sent.token not in str(sent.invitation.__dict__)


def test_invite__refused__asks_for_no_mail(at) -> None:
    project = make_project()
    with pytest.raises(Exception, match="roles"):
        services.invite(email="n@example.org", role=Role.PROJECT_MEMBER, scope=project, by=make_person(), at=at)
    assert jobs() == []


def test_send_mail__invitation__holds_the_link_that_works(at, settings) -> None:
    settings.BASE_URL = "https://bursar.example"
    project = make_project(pi=(pi := make_person(full_name="Ada L")), name="Comets")
    sent = services.invite(
        email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, message="Join us!", by=pi, at=at
    )
    (job,) = jobs()
    delivery.send_mail(**job.args, at=at)
    (message,) = mail.outbox
    assert message.to == ["new@example.org"]
    assert message.subject == "Ada L invites you to Comets"
    assert f"https://bursar.example/invitations/{sent.token}/" in message.body
    assert "Join us!" in message.body
    assert message.extra_headers["Message-ID"] == f"<{job.args['key']}@bursar.example>"
    row = Mail.objects.get()
    assert (row.kind, row.to_email, row.subject, row.sent_at) == (
        "invitation",
        "new@example.org",
        "Ada L invites you to Comets",
        at,
    )


def test_send_mail__twice__sends_once(at) -> None:
    project = make_project(pi=(pi := make_person()))
    services.invite(email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)
    (job,) = jobs()
    delivery.send_mail(**job.args, at=at)
    delivery.send_mail(**job.args, at=at)
    assert len(mail.outbox) == 1


def test_send_mail__invitation_revoked_meanwhile__is_dropped(at) -> None:
    project = make_project(pi=(pi := make_person()))
    sent = services.invite(email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)
    services.revoke_invitation(invitation=sent.invitation, by=pi, at=at)
    delivery.send_mail(**jobs()[0].args, at=at)
    assert mail.outbox == []
    assert Mail.objects.get().dropped_at == at


def test_send_mail__server_away__leaves_nothing_and_is_tried_again(at, monkeypatch) -> None:
    organization = make_organization(owner=(owner := make_person()))
    services.invite(email="new@example.org", role=Role.ORGANIZATION_MANAGER, scope=organization, by=owner, at=at)
    (job,) = jobs()

    def away(*_args: object, **_more: object) -> int:
        raise ConnectionRefusedError

    with monkeypatch.context() as patch:
        patch.setattr("django.core.mail.EmailMultiAlternatives.send", away)
        with pytest.raises(ConnectionRefusedError):
            delivery.send_mail(**job.args, at=at)
    assert not Mail.objects.exists()
    delivery.send_mail(**job.args, at=at)
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"; rm -rf ~ #', "Å\u0308stronomy & Söhne"])
def test_send_mail__hostile_name__is_text_and_one_line(at, name) -> None:
    project = make_project(pi=(pi := make_person()), name=name)
    services.invite(email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, message=name, by=pi, at=at)
    delivery.send_mail(**jobs()[0].args, at=at)
    (message,) = mail.outbox
    assert "\n" not in message.subject
    assert project.name in message.body
    html = message.alternatives[0][0]
    assert "<script>" not in html


def test_send_mail__unknown_kind__fails_loudly(at) -> None:
    with pytest.raises(LookupError):
        delivery.send_mail(key="k", kind="nonsense", to_person_id=None, to_email="a@example.org", facts={}, at=at)


def test_send_mail__person_shut_out__is_dropped(at) -> None:
    person = make_person()
    services.deactivate_person(person=person, by=None, at=at)
    delivery.send_mail(key="k", kind="login", to_person_id=person.pk, to_email="", facts={}, at=at)
    assert mail.outbox == []


def test_ask_for_mail__without_anybody__is_a_bug() -> None:
    with pytest.raises(ValueError, match="goes to"):
        ask_for_mail("invitation")


@pytest.mark.django_db(transaction=True)
def test_ask_for_mail__transaction_rolled_back__leaves_no_job() -> None:
    from django.db import transaction

    with pytest.raises(RuntimeError), transaction.atomic():
        ask_for_mail("invitation", to_email="a@example.org")
        assert connection.in_atomic_block
        raise RuntimeError
    assert jobs() == []
