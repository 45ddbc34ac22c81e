"""Logging in: password with verified mail, second factor, reset, limits, who may register, and the demonstration."""

import re
import time
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.contrib.auth import get_user
from django.core import mail
from django.core.cache import cache
from django.test import Client
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.delivery import services as delivery
from bursar.events.models import Event
from bursar.structure import services
from bursar.structure.mail import MAIL_TASK
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Role
from tests.factories.structure import make_person, make_project

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _quick_and_without_limits_from_before(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # slowness is not tested here
    cache.clear()


def deliver(at) -> list:
    """Carry out the mail jobs; the mails that left and had not left before."""
    before = len(mail.outbox)
    for job in ProcrastinateJob.objects.filter(task_name=MAIL_TASK).order_by("id"):
        delivery.send_mail(**job.args, at=at)
    return mail.outbox[before:]


def link_in(message) -> str:
    return re.search(r"https?://[^/\s]+(/\S+)", message.body)[1]


def who(client: Client) -> object:
    return get_user(client)


def register(client: Client, email: str = "ada@example.org", **more: str):
    return client.post("/account/signup/", {"full_name": "Ada L", "email": email, "password1": PASSWORD, **more})


def confirm(client: Client) -> None:
    """Say the password again, as is asked before anything about signing in is changed."""
    assert client.post("/account/reauthenticate/", {"password": PASSWORD}).status_code == 302


def log_in(client: Client, email: str = "ada@example.org", password: str = PASSWORD):
    return client.post("/account/login/", {"login": email, "password": password})


# ------------------------------------------------------------------------------------------------ registering
def test_register__mail_verified__is_a_person_with_workspace(client, at) -> None:
    answer = register(client)
    assert answer.url == "/account/confirm-email/"
    person = Person.objects.get()
    assert (person.email, person.full_name, person.is_active) == ("ada@example.org", "Ada L", True)
    assert Workspace.objects.get().person == person
    assert not who(client).is_authenticated
    (message,) = deliver(at)
    assert message.to == ["ada@example.org"]
    confirm = link_in(message)
    assert client.get(confirm).status_code == 200
    client.post(confirm)
    assert EmailAddress.objects.get().verified
    log_in(client)
    assert who(client) == person
    assert list(Event.objects.order_by("id").values_list("kind", flat=True)) == [
        "person.registered",
        "person.logged_in",
    ]


def test_register__link_in_the_queue__is_sealed(client) -> None:
    register(client)
    args = ProcrastinateJob.objects.latest("id").args
    assert args["to_email"] == "ada@example.org"
    assert args["facts"].keys() == {"subject", "sealed_text"}
    assert "confirm-email" not in str(args)


def test_log_in__mail_not_verified__is_sent_to_verify(client, at) -> None:
    register(client)
    answer = log_in(Client())
    assert answer.url == "/account/confirm-email/"


def test_register__address_taken__says_the_same_and_tells_its_owner(client, at) -> None:
    make_person("ada@example.org", password=PASSWORD)
    answer = register(client, email="ADA@example.org")
    assert answer.url == "/account/confirm-email/"
    assert Person.objects.count() == 1
    (message,) = deliver(at)
    assert "already" in message.body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("full_name", ""),
        ("full_name", "a\u202eb"),
        ("full_name", "x" * 201),
        ("email", "nobody"),
        ("password1", "short"),
        ("password1", "password1234"),
        ("password1", "ada@example.org"),
    ],
)
def test_register__bad_input__makes_nobody(client, field, value) -> None:
    answer = register(client, **{field: value})
    assert answer.status_code == 200
    assert b"is-invalid" in answer.content
    assert not Person.objects.exists()


def test_register__closed__is_refused(client, settings) -> None:
    settings.BURSAR_SIGNUP = "closed"
    assert b"full_name" not in client.get("/account/signup/").content
    register(client)
    assert not Person.objects.exists()


def test_register__only_invited__needs_the_link(client, settings, at) -> None:
    from bursar.kernel import clock

    settings.BURSAR_SIGNUP = "invited"
    project = make_project(pi=(pi := make_person()))
    sent = services.invite(email="ada@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)
    register(client)
    assert not Person.objects.filter(email="ada@example.org").exists()
    with clock.stated_time(at):
        assert client.get(f"/invitations/{sent.token}/").status_code == 200
        register(client, next=f"/invitations/{sent.token}/")
    assert Person.objects.filter(email="ada@example.org").exists()


# ------------------------------------------------------------------------------------------------ password
def test_reset_password__link__sets_another(client, at) -> None:
    make_person("ada@example.org", password=PASSWORD)
    client.post("/account/password/reset/", {"email": "ada@example.org"})
    (message,) = deliver(at)
    form = client.get(link_in(message), follow=True)
    address = form.redirect_chain[-1][0]
    client.post(address, {"password1": "another good long one", "password2": "another good long one"})
    assert not who(client).is_authenticated
    log_in(client, password="another good long one")
    assert who(client).is_authenticated
    assert log_in(Client()).status_code == 200  # the old one is refused


def test_reset_password__unknown_address__says_the_same_and_mails_nobody(client, at) -> None:
    answer = client.post("/account/password/reset/", {"email": "nobody@example.org"})
    assert answer.url == "/account/password/reset/done/"
    assert deliver(at) == []


def test_log_in__wrong_password_five_times__is_held_up(client) -> None:
    make_person("ada@example.org", password=PASSWORD)
    for _ in range(5):
        assert b"Too many" not in log_in(client, password="wrong").content
    assert b"Too many failed login attempts" in log_in(client, password="wrong").content
    assert b"Too many failed login attempts" in log_in(client).content
    assert not who(client).is_authenticated


def test_log_in__shut_out__is_refused(client, at) -> None:
    person = make_person("ada@example.org", password=PASSWORD)
    services.deactivate_person(person=person, by=None, at=at)
    log_in(client)
    assert not who(client).is_authenticated


def test_log_out__needs_a_post(client) -> None:
    client.force_login(make_person())
    client.get("/account/logout/")
    assert who(client).is_authenticated
    assert client.post("/account/logout/").url == "/account/login/"
    assert not who(client).is_authenticated


def test_change_mail__second_address__is_verified_before_it_counts(client, at) -> None:
    person = make_person("ada@example.org", password=PASSWORD)
    log_in(client)
    confirm(client)
    client.post("/account/email/", {"action_add": "", "email": "new@example.org"})
    messages = deliver(at)
    (to_new,) = [m for m in messages if m.to == ["new@example.org"]]
    client.post("/account/email/", {"action_primary": "", "email": "new@example.org"})
    person.refresh_from_db()
    assert person.email == "ada@example.org"
    client.post(link_in(to_new))
    client.post("/account/email/", {"action_primary": "", "email": "new@example.org"})
    person.refresh_from_db()
    assert person.email == "new@example.org"


# ------------------------------------------------------------------------------------------------ second factor
def code_of(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def switch_on_totp(client: Client) -> str:
    assert client.get("/account/2fa/totp/activate/").url.startswith("/account/reauthenticate/")
    confirm(client)
    page = client.get("/account/2fa/totp/activate/").content.decode()
    secret = re.search(r'id="authenticator_secret"[^>]*value="([A-Z2-7]+)"', page)[1]
    assert "data:image/svg+xml" in page
    answer = client.post("/account/2fa/totp/activate/", {"code": code_of(secret)})
    assert answer.status_code == 302, answer.content.decode()
    return secret


def test_totp__switched_on__is_asked_for_at_the_next_login(client, at) -> None:
    person = make_person("ada@example.org", password=PASSWORD)
    log_in(client)
    secret = switch_on_totp(client)
    stored = Authenticator.objects.get(user=person, type=Authenticator.Type.TOTP)
    assert secret not in str(stored.data)
    assert stored.data["secret"].startswith("gAAAA")

    again = Client()
    assert log_in(again).url == "/account/2fa/authenticate/"
    assert not who(again).is_authenticated
    assert again.get("/profile/").status_code == 302
    wrong = "000000" if code_of(secret) != "000000" else "111111"
    again.post("/account/2fa/authenticate/", {"code": wrong})
    assert not who(again).is_authenticated
    cache.clear()  # the code itself counts as used once
    again.post("/account/2fa/authenticate/", {"code": code_of(secret)})
    assert who(again) == person


def test_totp__recovery_code__works_once(client) -> None:
    person = make_person("ada@example.org", password=PASSWORD)
    log_in(client)
    switch_on_totp(client)
    page = client.get("/account/2fa/recovery-codes/").content.decode()
    codes = re.search(r'<textarea[^>]*id="recovery_codes"[^>]*>([^<]+)<', page)[1].split()
    assert len(codes) == 10
    stored = Authenticator.objects.get(user=person, type=Authenticator.Type.RECOVERY_CODES)
    assert not any(code in str(stored.data) for code in codes)
    first = Client()
    log_in(first)
    first.post("/account/2fa/authenticate/", {"code": codes[0]})
    assert who(first) == person
    second = Client()
    log_in(second)
    second.post("/account/2fa/authenticate/", {"code": codes[0]})
    assert not who(second).is_authenticated


def test_totp__switched_off__needs_a_fresh_login(client) -> None:
    make_person("ada@example.org", password=PASSWORD)
    log_in(client)
    switch_on_totp(client)
    session = client.session
    session["account_authentication_methods"] = [
        {**method, "at": time.time() - 3600} for method in session["account_authentication_methods"]
    ]
    session.save()
    answer = client.post("/account/2fa/totp/deactivate/")
    assert answer.status_code == 302
    assert "reauthenticate" in answer.url
    assert Authenticator.objects.filter(type=Authenticator.Type.TOTP).count() == 1


def test_totp__secret__is_read_back_by_the_library() -> None:
    person = make_person()
    instance = TOTP.activate(person, "JBSWY3DPEHPK3PXP").instance
    assert instance.wrap().validate_code(code_of("JBSWY3DPEHPK3PXP"))


# ------------------------------------------------------------------------------------------------ the demonstration
@pytest.fixture
def demo(settings):
    settings.DEMO = True
    return make_person("pi@demo.bursar.example", full_name="Anders Holm")


HOME = {"SERVER_NAME": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:8000"}


def test_demo__at_home__one_click_logs_in(demo, client) -> None:
    page = client.get("/account/login/", **HOME).content.decode()
    assert page.count("/demo/login/") == 6
    assert "Try this first:" in page
    answer = client.post("/demo/login/pi/", **HOME)
    assert answer.status_code == 302
    assert answer.url == "/"
    assert who(client) == demo


@pytest.mark.parametrize(
    "changed",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"REMOTE_ADDR": "192.0.2.7", "HTTP_HOST": "localhost"},
        {"SERVER_NAME": "192.0.2.1"},
        {"HTTP_HOST": "testserver"},
        {"HTTP_X_FORWARDED_FOR": "192.0.2.7"},
        {"HTTP_FORWARDED": "for=192.0.2.7"},
        {"HTTP_X_FORWARDED_HOST": "demo.example.org"},
    ],
)
def test_demo__from_anywhere_else__is_not_there(demo, client, changed) -> None:
    meta = {**HOME, **changed}
    assert "/demo/login/" not in client.get("/account/login/", **meta).content.decode()
    assert client.post("/demo/login/pi/", **meta).status_code == 404
    assert not who(client).is_authenticated


def test_demo__not_a_demo__is_not_there(demo, client, settings) -> None:
    settings.DEMO = False
    assert "/demo/login/" not in client.get("/account/login/", **HOME).content.decode()
    assert client.post("/demo/login/pi/", **HOME).status_code == 404
    assert not who(client).is_authenticated


def test_demo__unknown_card_or_get__is_refused(demo, client) -> None:
    assert client.post("/demo/login/root/", **HOME).status_code == 404
    assert client.post("/demo/login/operator/", **HOME).status_code == 404  # nobody made that person
    assert client.get("/demo/login/pi/", **HOME).status_code == 405


def test_demo__without_the_form_token__is_refused(demo) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post("/demo/login/pi/", **HOME).status_code == 403


def test_demo__next__goes_to_our_pages_only(demo, client) -> None:
    assert client.post("/demo/login/pi/", {"next": "/projects/"}, **HOME).url == "/projects/"
    assert client.post("/demo/login/pi/", {"next": "https://evil.example/"}, **HOME).url == "/"


# ------------------------------------------------------------------------------------------------ pages need a login
def test_pages__without_login__lead_to_it_and_back(client) -> None:
    for address in ("/projects/", "/profile/", "/operator/people/", "/memberships/"):
        assert client.get(address).url == f"/account/login/?next={address}"


def test_invitation_page__stranger__sees_it_and_is_led_to_log_in(client, at) -> None:
    from bursar.kernel import clock

    project = make_project(pi=(pi := make_person()), name="Comets")
    sent = services.invite(email="ada@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)
    with clock.stated_time(at + timedelta(days=1)):
        page = client.get(f"/invitations/{sent.token}/")
        assert b"Comets" in page.content
        assert client.post(f"/invitations/{sent.token}/").url.startswith("/account/login/?next=/invitations/")
        client.force_login(make_person("ada@example.org"))
        assert client.post(f"/invitations/{sent.token}/").url == f"/projects/{project.pk}/"
        assert client.get("/invitations/nonsense/").status_code == 404
