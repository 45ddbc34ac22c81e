"""Files that applicants send: a few types, each known by its bytes and not by what it calls itself."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import Final

from bursar.grants.errors import FileTooLarge, FileTypeNotAllowed
from bursar.structure.text import clean_line

SIZE_MAX_MIB: Final = 10
FILES_MAX: Final = 20

_STARTS: Final = {
    "pdf": (b"%PDF-", "application/pdf"),
    "png": (b"\x89PNG\r\n\x1a\n", "image/png"),
    "jpg": (b"\xff\xd8\xff", "image/jpeg"),
    "jpeg": (b"\xff\xd8\xff", "image/jpeg"),
}
_TEXTS: Final = {"txt": "text/plain", "md": "text/markdown", "csv": "text/csv"}
_ZIPS: Final = {
    "odt": ("content.xml", "application/vnd.oasis.opendocument.text"),
    "docx": ("word/document.xml", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
}
POSSIBLE: Final = tuple(sorted({*_STARTS, *_TEXTS, *_ZIPS}))


@dataclass(frozen=True, slots=True)
class CheckedFile:
    name: str
    content_type: str
    sha256: str


def check_file(name: str, data: bytes) -> CheckedFile:
    """A file with a name that is safe to say, and the type that its bytes are of.

    raises   FileTooLarge; FileTypeNotAllowed when the bytes are not of the type that the name says; TextMissing and
             TextTooLong of the name
    """
    if len(data) > SIZE_MAX_MIB * 2**20:
        raise FileTooLarge(limit=f"{SIZE_MAX_MIB} MiB")
    name = clean_line(name.replace("\\", "/").rpartition("/")[2], field="file", limit=150)
    kind = _type_of(name.rpartition(".")[2].lower(), data)
    if not kind:
        raise FileTypeNotAllowed(name=name[:60], possible=", ".join(POSSIBLE))
    return CheckedFile(name, kind, hashlib.sha256(data).hexdigest())


def _type_of(ending: str, data: bytes) -> str:
    if ending in _STARTS:
        start, kind = _STARTS[ending]
        return kind if data.startswith(start) else ""
    if ending in _TEXTS:
        try:
            return _TEXTS[ending] if "\x00" not in data.decode("utf-8") else ""
        except UnicodeDecodeError:
            return ""
    if ending in _ZIPS:
        member, kind = _ZIPS[ending]
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return ""
        # Macros make of a document a program; nothing is unpacked here.
        return kind if member in names and not any("vbaproject" in one.lower() for one in names) else ""
    return ""
