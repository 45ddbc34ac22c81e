"""A giver's logo: set, replaced, removed; who sees it, and how it is served."""

from base64 import b64encode
from datetime import datetime

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.test import Client

from bursar.events.models import Event
from bursar.grants import services
from bursar.grants.models import GiverLogo, GiverLogoContent
from bursar.kernel.clock import stated_time
from bursar.kernel.errors import DomainError
from bursar.structure.models import Person
from tests.factories.grants import Grants, make_grants
from tests.factories.pictures import chunk, png

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
PHOTO = png(40, 20, chunk(b"eXIf", b"where it was taken"))


@pytest.fixture
def grants(at: datetime) -> Grants:
    return make_grants(at)


def set_logo(grants: Grants, data: bytes = PHOTO, by: Person | None = None) -> GiverLogo:
    return services.set_logo(workspace=grants.north, data=data, by=by or grants.north_owner, at=grants.at)


def client_of(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def test_set__logo__replaces_the_one_before_and_keeps_only_what_draws(grants: Grants) -> None:
    set_logo(grants)
    row = set_logo(grants, png(30, 60))
    assert bytes(GiverLogoContent.objects.get().data) == png(30, 60)
    assert (row.content_type, row.width, row.height, row.size_bytes) == ("image/png", 30, 60, len(png(30, 60)))
    services.remove_logo(workspace=grants.north, by=grants.north_owner, at=grants.at)
    services.remove_logo(workspace=grants.north, by=grants.north_owner, at=grants.at)
    assert not GiverLogoContent.objects.exists()
    assert Event.objects.filter(kind="grant_giver.logo_removed").count() == 1


def test_set__without_the_right_or_no_picture__changes_nothing(grants: Grants) -> None:
    for by, data, code in (
        (grants.reviewer, PHOTO, "not_allowed"),
        (grants.applicant, PHOTO, "not_allowed"),
        (grants.north_owner, b"<svg/>", "picture_not_possible"),
    ):
        with pytest.raises(DomainError) as refusal:
            set_logo(grants, data, by)
        assert refusal.value.code == code
    with pytest.raises(DomainError) as refusal:
        services.remove_logo(workspace=grants.north, by=grants.reviewer, at=grants.at)
    assert refusal.value.code == "not_allowed"
    assert not GiverLogo.objects.exists()


def test_logo__in_the_database__is_a_small_picture_of_three_kinds(grants: Grants) -> None:
    set_logo(grants)
    for wrong in ({"content_type": "text/html"}, {"width": 2001}, {"size_bytes": 524_289}):
        with pytest.raises(IntegrityError), transaction.atomic():
            GiverLogo.objects.update(**wrong)


def test_see__logo__by_those_who_meet_the_giver(grants: Grants) -> None:
    set_logo(grants)

    def sees(person: Person) -> bool:
        with stated_time(grants.at):
            answer = client_of(person).get(f"/grants/givers/{grants.north.pk}/logo/")
        assert answer.status_code in {200, 404}
        return answer.status_code == 200

    assert sees(grants.stranger)  # it is open for anyone
    application = grants.apply()
    grants.approve(application, grants.north, grants.reviewer)
    services.set_giver(workspace=grants.north, is_open=False, by=None, at=grants.at)
    assert sees(grants.applicant)  # draws from it, and sees its part
    assert sees(grants.reviewer)
    assert not sees(grants.stranger)
    assert not sees(grants.south_owner)


def test_serve__logo__is_a_picture_and_can_be_nothing_else(grants: Grants) -> None:
    with stated_time(grants.at):
        owner, path = client_of(grants.north_owner), f"/grants/givers/{grants.north.pk}/logo/"
        assert owner.get(path).status_code == 404
        file = SimpleUploadedFile("logo.html", PHOTO, content_type="text/html")
        assert owner.post(f"{path}set/", {"file": file}).status_code == 302
        for address in (path, f"/api/v1/grants/givers/{grants.north.pk}/logo"):
            answer = client_of(grants.applicant).get(address)
            assert answer.content == png(40, 20)
            assert answer["Content-Type"] == "image/png"
            assert answer["X-Content-Type-Options"] == "nosniff"
            assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
            assert answer["Content-Disposition"] == "inline"
            assert answer["Cache-Control"].startswith("private")
        shown = owner.get(f"/grants/givers/{grants.north.pk}/").content.decode()
        assert f'src="{path}?v={GiverLogo.objects.get().sha256[:12]}"' in shown
        assert "40 × 20 points" in shown
        # What is refused is said where the button stands, and the old one stays.
        svg = SimpleUploadedFile("logo.png", b"<svg/>", content_type="image/png")
        said = owner.post(f"{path}set/", {"file": svg}, follow=True).content.decode()
        assert "This is not a picture that can be shown." in said
        large = SimpleUploadedFile("logo.png", png(16, 16) + b"\x00" * 600_000)
        assert "at most 512 KiB" in owner.post(f"{path}set/", {"file": large}, follow=True).content.decode()
        assert GiverLogo.objects.get().width == 40
        assert owner.post(f"{path}remove/").status_code == 302
        assert (
            "None yet: applicants see the initials." in owner.get(f"/grants/givers/{grants.north.pk}/").content.decode()
        )


def test_rest__logo__is_set_told_and_removed(grants: Grants) -> None:
    with stated_time(grants.at):
        owner, path = client_of(grants.north_owner), f"/api/v1/grants/givers/{grants.north.pk}/logo"
        body = {"content": b64encode(PHOTO).decode()}
        answer = owner.put(path, body, content_type="application/json")
        told = {"content_type": "image/png", "width": 40, "height": 20, "size_bytes": len(png(40, 20))}
        assert answer.json() == {**told, "sha256": GiverLogo.objects.get().sha256}
        assert owner.get(f"/api/v1/grants/givers/{grants.north.pk}/settings").json()["logo"] == answer.json()
        givers = client_of(grants.applicant).get("/api/v1/grants/givers").json()
        assert [(one["id"], one["logo"]) for one in givers] == [
            (grants.north.pk, answer.json()),
            (grants.south.pk, None),
        ]
        for content, code in (
            ("###", "file_type_not_allowed"),
            (b64encode(b"<svg/>").decode(), "picture_not_possible"),
        ):
            refused = owner.put(path, {"content": content}, content_type="application/json")
            assert (refused.status_code, refused.json()["code"]) == (422, code)
        assert owner.delete(path).status_code == 204
        assert owner.get(path).json()["code"] == "logo_not_found"
