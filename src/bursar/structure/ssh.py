"""Reading a public SSH key as people paste it."""

import base64
import hashlib
import warnings
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from bursar.kernel.i18n import N_
from bursar.structure.errors import InvalidSshKey

LINE_MAX: Final = 8192
RSA_BITS_MIN: Final = 2048  # what OpenSSH itself still makes and takes since 9.1


@dataclass(frozen=True, slots=True)
class PublicKey:
    """kind "ssh-ed25519"; line = kind and base64 without the comment; fingerprint "SHA256:…"."""

    kind: str
    line: str
    comment: str
    fingerprint: str


def read_public_key(text: str) -> PublicKey:
    """One line `kind base64 comment`, checked down to the numbers in it.

    raises   InvalidSshKey, with the reason in words
    """
    line = text.strip()
    if "PRIVATE KEY" in line:
        raise InvalidSshKey(reason=N_("this is a private key; paste the content of the file that ends in .pub"))
    if len(line) > LINE_MAX:
        raise InvalidSshKey(reason=N_("it is too long"))
    if "\n" in line or "\r" in line:
        raise InvalidSshKey(reason=N_("a public key is one line"))
    parts = line.split(None, 2)
    if len(parts) < 2:
        raise InvalidSshKey(reason=N_("it should look like “ssh-ed25519 AAAA… name”"))
    kind, encoded, comment = parts[0], parts[1], parts[2] if len(parts) == 3 else ""
    if "-cert-" in kind:
        raise InvalidSshKey(reason=N_("this is a certificate, not a key"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            key = load_ssh_public_key(f"{kind} {encoded}".encode("ascii"))
        blob = base64.b64decode(encoded, validate=True)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidSshKey(reason=N_("it should look like “ssh-ed25519 AAAA… name”")) from None
    if isinstance(key, dsa.DSAPublicKey):
        raise InvalidSshKey(reason=N_("DSA keys are no longer safe; make an Ed25519 key"))
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        raise InvalidSshKey(reason=N_("an RSA key needs at least 2048 bits; make an Ed25519 key"))
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return PublicKey(kind=kind, line=f"{kind} {encoded}", comment=comment, fingerprint=f"SHA256:{digest}")
