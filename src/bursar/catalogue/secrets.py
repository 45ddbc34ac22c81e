"""Secrets at rest: one Fernet token for all secret settings of a backend.

The installation's first key encrypts, every key decrypts (`BURSAR_KEYS`), so a new first key takes over at once and
`rotate_secrets` brings what is stored up to it.
"""

import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

__all__ = ["InvalidToken", "decrypt", "encrypt", "re_encrypt"]


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.BURSAR_KEYS])


def encrypt(values: Mapping[str, str]) -> bytes:
    """A token of these secrets; of none, nothing."""
    return _fernet().encrypt(json.dumps(dict(values)).encode()) if values else b""


def decrypt(token: bytes | memoryview) -> dict[str, str]:
    """raises   InvalidToken when no key of this installation fits"""
    if not token:
        return {}
    values: dict[str, str] = json.loads(_fernet().decrypt(bytes(token)))
    return values


def re_encrypt(token: bytes | memoryview) -> bytes:
    """The same secrets under the first key.

    raises   InvalidToken
    """
    return _fernet().rotate(bytes(token)) if token else b""
