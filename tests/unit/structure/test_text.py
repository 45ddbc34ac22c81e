import pytest

from bursar.structure.errors import InvalidEmail, InvalidSshKey, TextMissing, TextNotAllowed, TextTooLong
from bursar.structure.ssh import read_public_key
from bursar.structure.text import clean_email, clean_line, clean_text, slug_of

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMaXgGsi/eCI5DJbKeN7OqfBkNWOIXE21MijSjbg6H79"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("  Comets  and   dust ", "Comets and dust"),
        ('"; rm -rf ~ #', '"; rm -rf ~ #'),
        ("A\u030angstro\u0308m", "Ångström"),
        ("天文学", "天文学"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("{{ 7*7 }} %s {0}", "{{ 7*7 }} %s {0}"),
    ],
)
def test_clean_line__what_people_write__is_kept_as_text(written: str, kept: str) -> None:
    assert clean_line(written, field="name", limit=200) == kept


@pytest.mark.parametrize("bad", ["a\x00b", "a\nb", "a\u202eb", "a\u2066b", "a\x1b[31mb", "a\ud800b", "a\u2028b"])
def test_clean_line__hidden_characters__are_refused(bad: str) -> None:
    with pytest.raises(TextNotAllowed):
        clean_line(bad, field="name", limit=200)


def test_clean_line__limits() -> None:
    assert clean_line("x" * 200, field="name", limit=200) == "x" * 200
    with pytest.raises(TextTooLong) as refusal:
        clean_line("x" * 201, field="name", limit=200)
    assert refusal.value.facts == {"field": "name", "limit": 200}
    with pytest.raises(TextMissing):
        clean_line(" \u3000 ", field="name", limit=200)
    assert clean_line("", field="name", limit=200, required=False) == ""


def test_clean_text__lines__are_kept_and_line_ends_made_one() -> None:
    assert clean_text("a\r\nb\rc\td\n", field="f", limit=10) == "a\nb\nc\td"
    with pytest.raises(TextNotAllowed):
        clean_text("a\x00", field="f", limit=10)


@pytest.mark.parametrize("bad", ["", "nobody", "a@b", "a b@example.org", "a@example.org\nBcc: x@y.z", "é@" + "x" * 260])
def test_clean_email__no_address__is_refused(bad: str) -> None:
    with pytest.raises(InvalidEmail):
        clean_email(bad)


def test_clean_email__upper_case__is_one_address() -> None:
    assert clean_email(" Ada@Example.ORG ") == "ada@example.org"


@pytest.mark.parametrize(
    ("name", "slug"), [("Ångström & Co", "angstrom-co"), ("天文学", "project"), ("--", "project"), ("x" * 50, "x" * 40)]
)
def test_slug_of__name(name: str, slug: str) -> None:
    assert slug_of(name, otherwise="project") == slug


def test_read_public_key__ed25519__has_the_fingerprint_that_ssh_keygen_shows() -> None:
    key = read_public_key(f"  {ED25519} ada@laptop of mine \n")
    assert key.kind == "ssh-ed25519"
    assert key.line == ED25519
    assert key.comment == "ada@laptop of mine"
    assert key.fingerprint == "SHA256:60Y1daA33e6ker0DtB4qufDXA5Z1WeMkz6/Pl8i1Jzg"


def _made(kind: str) -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = {
        "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
        "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
        "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    }[kind]()
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def test_read_public_key__other_kinds__are_taken() -> None:
    assert read_public_key(_made("rsa3072")).kind == "ssh-rsa"
    assert read_public_key(_made("ecdsa")).kind == "ecdsa-sha2-nistp256"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "should look like"),
        ("ssh-ed25519", "should look like"),
        ("ssh-ed25519 AAAA", "should look like"),
        ("ssh-ed25519 " + "A" * 68, "should look like"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa"), "should look like"),
        (f'command="rm -rf ~" {ED25519}', "should look like"),
        (f"{ED25519}\n{ED25519}", "one line"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "private key"),
        (ED25519 + " " + "x" * 9000, "too long"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA x", "certificate"),
        ("ssh-ed25519 ÄÖÜ x", "should look like"),
    ],
)
def test_read_public_key__not_one__says_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidSshKey) as refusal:
        read_public_key(text)
    assert reason in refusal.value.reason


def test_read_public_key__weak_rsa__is_refused() -> None:
    with pytest.raises(InvalidSshKey) as refusal:
        read_public_key(_made("rsa1024"))
    assert "2048" in refusal.value.reason
