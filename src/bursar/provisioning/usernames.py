"""Local user names and group names: pure functions, no database.

What a person wrote (names, slugs) passes through here before it becomes a name at a backend.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from itertools import count
from typing import Final

# What useradd and SLURM both take.
USERNAME: Final = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
# useradd refuses more than 32; one less leaves room to those who count the final zero.
LENGTH_MAX: Final = 31

UID_MAX: Final = 2**31 - 1  # beyond it some file systems and tar count below zero

# Users and groups that systems have of their own (Debian's and Red Hat's base, and what clusters run): nobody is given these.
RESERVED: Final = frozenset(
    """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody nogroup adm tty disk
    kmem dialout fax voice cdrom floppy tape sudo wheel audio dip operator src shadow utmp video sasl plugdev staff users
    input sgx kvm render halt shutdown ftp apache nginx httpd mysql postgres redis ldap openldap slapd nscd nslcd sssd dbus
    polkitd messagebus sshd ssh chrony ntp rpc rpcuser nfsnobody slurm munge admin administrator guest test user toor
    systemd ceph lustre docker libvirt git jenkins bursar
    """.split()
)

# Letters whose accents are not simply added, and the alphabets whose letters have a usual Latin spelling
# (Greek: ISO 843; Cyrillic: as in passports, ICAO 9303). Others, such as Chinese, have none that a table could give.
_LATIN: Final = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i", "ŋ": "n", "ħ": "h",
    "ŧ": "t", "ĸ": "k", "ə": "e",
    "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i", "κ": "k", "λ": "l",
    "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s", "ς": "s", "τ": "t", "υ": "y", "φ": "f",
    "χ": "ch", "ψ": "ps", "ω": "o",
    "а": "a", "б": "b", "в": "v", "г": "g", "ґ": "g", "д": "d", "ђ": "d", "е": "e", "є": "ie", "ж": "zh", "з": "z",
    "и": "i", "і": "i", "ї": "i", "й": "i", "ј": "j", "к": "k", "л": "l", "љ": "lj", "м": "m", "н": "n", "њ": "nj",
    "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "ћ": "c", "у": "u", "ў": "u", "ф": "f", "х": "kh", "ц": "ts",
    "ч": "ch", "џ": "dz", "ш": "sh", "щ": "shch", "ъ": "ie", "ы": "y", "ь": "", "э": "e", "ю": "iu", "я": "ia",
}  # fmt: skip


def plain(text: str) -> str:
    """What is left of a text in a-z and 0-9: accents dropped, Greek and Cyrillic as passports spell them."""
    composed = unicodedata.normalize("NFKC", text[:400]).casefold()
    spelt = "".join(_LATIN.get(letter, letter) for letter in composed)
    bare = unicodedata.normalize("NFKD", spelt)
    return re.sub(r"[^a-z0-9]", "", "".join(_LATIN.get(letter, letter) for letter in bare))


def initial_last(full_name: str) -> str:
    """Ada Lovelace -> alovelace; begins with a letter. "user" where nothing of the name can be spelt."""
    words = [word for word in (plain(part) for part in full_name.split()) if word]
    name = (words[0][0] + words[-1] if len(words) > 1 else "".join(words)).lstrip("0123456789")
    return name[:LENGTH_MAX] or "user"


def numbered(base: str, *, taken: Collection[str]) -> str:
    """The base, or with the lowest number from 2 on, that is free and nobody's by nature.

    taken   what is in use or ever was: at least all that begin with the first 12 letters of the base
    """
    return next(name for name in _tries(base) if name not in taken and name not in RESERVED)


def _tries(base: str) -> Iterator[str]:
    yield base[:LENGTH_MAX]
    for number in count(2):
        ending = str(number)
        yield base[: LENGTH_MAX - len(ending)] + ending


def anonymous(number: int) -> str:
    return f"u{number:06d}"


def group_base(slug: str) -> str:
    """A project's short name as a group's: small letters, digits and single hyphens, beginning with a letter."""
    spelt = "-".join(part for part in (plain(word) for word in re.split(r"[^\w]|_", slug)) if part)
    name = spelt[:LENGTH_MAX].strip("-")
    return name if re.match(r"[a-z]", name) else f"p-{name}"[:LENGTH_MAX].strip("-")
