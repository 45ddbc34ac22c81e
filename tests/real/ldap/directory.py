"""A real OpenLDAP of the test's own, with a certificate of the test's own; nothing of the machine's is touched."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BASE = "dc=example,dc=org"
ADMIN = f"cn=admin,{BASE}"
PASSWORD = "the-directory's-secret"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"

CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
database mdb
suffix {base}
rootdn {admin}
rootpw "{password}"
directory {folder}/db
index objectClass,uid,uidNumber,gidNumber,description eq
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
"""

# What was there before us: it has to stay as it is.
FIRST = f"""\
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: {GROUPS}
objectClass: organizationalUnit
ou: groups

dn: uid=alice,{PEOPLE}
objectClass: inetOrgPerson
objectClass: posixAccount
uid: alice
cn: Alice Doe
sn: Doe
uidNumber: 20001
gidNumber: 20000
homeDirectory: /home/alice
loginShell: /bin/zsh

dn: cn=staff,{GROUPS}
objectClass: posixGroup
cn: staff
gidNumber: 20000
memberUid: alice
"""


def missing() -> str:
    """What this machine lacks; "" when nothing."""
    lacking = [name for name in ("slapd", "slapadd", "ldapsearch") if _command(name) is None]
    return f"{', '.join(lacking)} not installed" if lacking else ""


def _command(name: str) -> str | None:
    return shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")


def make_certificate(folder: Path) -> None:
    """A certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begin = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(private)


@dataclass
class Slapd:
    folder: Path
    port: int
    tls_port: int

    @property
    def uri(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_uri(self) -> str:
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def ca_file(self) -> str:
        return str(self.folder / "server.pem")

    @property
    def socket(self) -> str:
        return str(self.folder / "ldapi")

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Settings of the plugin that reach it."""
        return {
            "uri": self.uri,
            "ca_file": self.ca_file,
            "bind_dn": ADMIN,
            "bind_password": PASSWORD,
            "people_base": PEOPLE,
            "groups_base": GROUPS,
            "timeout_seconds": 20,
            **changes,
        }

    def entry(self, base: str, wanted: str = "(objectClass=*)") -> dict[str, list[str]]:
        """The one entry that fits, read by OpenLDAP's own command; empty when there is none."""
        command = [
            str(_command("ldapsearch")), "-x", "-LLL", "-o", "ldif-wrap=no", "-H", self.uri, "-D", ADMIN, "-w", PASSWORD,
            "-b", base, wanted,
        ]  # fmt: skip
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        blocks = [block for block in told.split("\n\n") if block.strip()]
        assert len(blocks) <= 1, told
        found: dict[str, list[str]] = {}
        for line in blocks[0].splitlines() if blocks else ():
            name, _colon, value = line.partition(": ")
            found.setdefault(name, []).append(value)
        return found

    def person(self, username: str) -> dict[str, list[str]]:
        return self.entry(PEOPLE, f"(uid={username})")

    def group(self, name: str) -> dict[str, list[str]]:
        return self.entry(GROUPS, f"(cn={name})")


@contextmanager
def running(folder: Path) -> Iterator[Slapd]:
    (folder / "db").mkdir()
    make_certificate(folder)
    config = folder / "slapd.conf"
    config.write_text(CONFIG.format(folder=folder, base=BASE, admin=ADMIN, password=PASSWORD))
    slapadd = [str(_command("slapadd")), "-f", str(config)]
    subprocess.run(slapadd, input=FIRST, capture_output=True, text=True, check=True)
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        slapd = Slapd(folder, one.getsockname()[1], other.getsockname()[1])
    listening = f"{slapd.uri} {slapd.tls_uri} ldapi://{slapd.socket.replace('/', '%2F')}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(_command("slapd")), "-f", str(config), "-h", listening, "-d", "0"], stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", slapd.port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise AssertionError((folder / "log").read_text()[-2000:]) from None
                    time.sleep(0.1)
            yield slapd
        finally:
            process.terminate()
            process.wait(30)
