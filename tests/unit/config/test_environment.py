import pytest

from bursar.config import environment


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://ann:p%40ss@db.example:5433/bursar", ("bursar", "ann", "p@ss", "db.example", "5433")),
        ("postgresql://postgres@/bursar?host=/srv/a%20house/pg", ("bursar", "postgres", "", "/srv/a house/pg", "")),
        ("postgres://db.example", ("bursar", "", "", "db.example", "")),
    ],
)
def test_database__url__is_taken_apart(url: str, expected: tuple[str, ...]) -> None:
    found = environment.database(url)
    assert tuple(found[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")) == expected


def test_database__another_kind_of_url__is_refused() -> None:
    with pytest.raises(ValueError, match="must begin with postgresql://"):
        environment.database("mysql://db.example/bursar")


def test_mail__starttls_url__becomes_djangos_settings() -> None:
    assert environment.mail("smtp+starttls://ann%40example.org:secret@mail.example.org") == {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": "mail.example.org",
        "EMAIL_PORT": 587,
        "EMAIL_HOST_USER": "ann@example.org",
        "EMAIL_HOST_PASSWORD": "secret",
        "EMAIL_USE_TLS": True,
        "EMAIL_USE_SSL": False,
        "EMAIL_TIMEOUT": 30,
    }


def test_mail__file_url_with_a_space__names_the_folder() -> None:
    assert environment.mail("file:///srv/a%20house/mail")["EMAIL_FILE_PATH"] == "/srv/a house/mail"


@pytest.mark.parametrize("url", ["http://mail.example.org", "smtp://", "smtp:///folder"])
def test_mail__no_mail_url__is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="BURSAR_MAIL_URL must begin with"):
        environment.mail(url)
