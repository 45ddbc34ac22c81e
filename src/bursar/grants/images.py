"""Small pictures that people send to be shown in pages: known by their bytes, and written anew from the parts that draw.

No image library: none is among the dependencies, and to decode what a stranger sent is the risk itself. The three
containers are lists of parts with lengths. Those that draw are kept, those that speak (camera, place, comments, other
formats hidden behind the end) are not, and the dimensions stand in a header, so that no small file unfolds into a
picture that a browser chokes on. What the parts hold is drawn by the browser's own decoder, as with any picture.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bursar.grants.errors import FileTooLarge, PictureNotPossible
from bursar.structure.errors import TextMissing

SIZE_MAX_KIB: Final = 512
SIDE_MIN, SIDE_MAX = 16, 2000
POSSIBLE: Final = "PNG, JPEG, WebP"
# With these a picture is shown, and can be nothing else: no page, no script, not part of somebody else's page.
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Disposition": "inline",
    "Cache-Control": "private, max-age=86400",
}

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = {b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"IDAT", b"IEND"}
# Start of frame: baseline, extended, progressive. The others are lossless or arithmetic, which browsers do not draw.
_JPEG_FRAMES: Final = {0xC0, 0xC1, 0xC2}
# Tables, restart interval, Adobe (how colours are meant), frame. Of the speaking ones only JFIF, without its other uses.
_JPEG_KEPT: Final = {0xC4, 0xDB, 0xDD, 0xEE} | _JPEG_FRAMES
_WEBP_KEPT: Final = {b"VP8 ", b"VP8L", b"ALPH"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it may be shown. `data` holds nothing but what draws it."""

    content_type: str
    data: bytes
    width: int
    height: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class _Broken(Exception):
    """The bytes are not of the kind they claim to be."""


def check_picture(data: bytes) -> Picture:
    """A still PNG, JPEG or WebP of 16 to 2000 points a side, written anew without what does not draw.

    raises   TextMissing for nothing at all; FileTooLarge; PictureNotPossible
    """
    if not data:
        raise TextMissing(field="file")
    if len(data) > SIZE_MAX_KIB * 1024:
        raise FileTooLarge(limit=f"{SIZE_MAX_KIB} KiB")
    try:
        if data.startswith(_PNG):
            picture = _png(data)
        elif data.startswith(b"\xff\xd8\xff"):
            picture = _jpeg(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            picture = _webp(data)
        else:
            raise _Broken
    except (_Broken, struct.error, IndexError):
        raise PictureNotPossible(possible=POSSIBLE, least=SIDE_MIN, most=SIDE_MAX) from None
    if not all(SIDE_MIN <= side <= SIDE_MAX for side in (picture.width, picture.height)):
        raise PictureNotPossible(possible=POSSIBLE, least=SIDE_MIN, most=SIDE_MAX)
    return picture


# ------------------------------------------------------------------------------------------------ PNG
def _png(data: bytes) -> Picture:
    """source   https://www.w3.org/TR/png-3/, 5 (chunks: length, name, data, CRC of name and data)"""
    chunks = list(_png_chunks(data))
    names = [name for name, _body in chunks]
    if names[0] != b"IHDR" or names.count(b"IHDR") != 1 or len(chunks[0][1]) != 13 or b"IDAT" not in names:
        raise _Broken
    if b"acTL" in names:
        raise _Broken  # it moves
    width, height = struct.unpack(">II", chunks[0][1][:8])
    kept = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
        if name in _PNG_KEPT
    )
    return Picture("image/png", _PNG + kept, width, height)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(_PNG)
    while True:
        length, name = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + length]
        (crc,) = struct.unpack_from(">I", data, place + 8 + length)
        if len(body) != length or crc != zlib.crc32(name + body):
            raise _Broken
        yield name, body
        if name == b"IEND":
            return
        place += 12 + length


# ------------------------------------------------------------------------------------------------ JPEG
def _jpeg(data: bytes) -> Picture:
    """source   ITU-T T.81, B.1 (segments: FF, marker, length with itself, data; after SOS entropy-coded until a marker)"""
    kept, size, place, scans = [b"\xff\xd8"], (0, 0), 2, 0
    while True:
        mark, place = _jpeg_marker(data, place)
        if mark == 0xD9:
            break
        (length,) = struct.unpack_from(">H", data, place)
        segment = data[place : place + length]
        if length < 2 or len(segment) != length:
            raise _Broken
        place += length
        if mark in _JPEG_FRAMES:
            if size != (0, 0):
                raise _Broken
            height, width = struct.unpack_from(">HH", segment, 3)
            size = (width, height)
        if mark == 0xDA:
            if size == (0, 0):
                raise _Broken
            ends = _jpeg_scan_end(data, place)
            kept += [b"\xff\xda", segment, data[place:ends]]
            place, scans = ends, scans + 1
        elif mark in _JPEG_KEPT or (mark == 0xE0 and segment[2:7] == b"JFIF\x00"):
            kept += [bytes((0xFF, mark)), segment]
        elif not (0xE0 <= mark <= 0xEF or mark == 0xFE):
            raise _Broken
    if not scans:
        raise _Broken
    return Picture("image/jpeg", b"".join([*kept, b"\xff\xd9"]), *size)


def _jpeg_marker(data: bytes, place: int) -> tuple[int, int]:
    if data[place] != 0xFF:
        raise _Broken
    while data[place] == 0xFF:  # any number of fill bytes
        place += 1
    return data[place], place + 1


def _jpeg_scan_end(data: bytes, place: int) -> int:
    """Where the entropy-coded bytes end: at the first marker that is neither a stuffed FF nor a restart."""
    while True:
        place = data.find(b"\xff", place)
        if place < 0:
            raise _Broken
        if data[place + 1] != 0x00 and not 0xD0 <= data[place + 1] <= 0xD7:
            return place
        place += 2


# ------------------------------------------------------------------------------------------------ WebP
def _webp(data: bytes) -> Picture:
    """source   RFC 9649, 2 (RIFF chunks: name, length, data, padded to an even length)"""
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data) or length < 4:
        raise _Broken
    chunks = list(_riff_chunks(data[12 : 8 + length]))
    names = [name for name, _body in chunks]
    drawn = [(name, body) for name, body in chunks if name in {b"VP8 ", b"VP8L"}]
    if len(drawn) != 1 or b"ANIM" in names or b"ANMF" in names or names.count(b"ALPH") > 1:
        raise _Broken
    name, body = drawn[0]
    size = _vp8_size(body) if name == b"VP8 " else _vp8l_size(body)
    kept = [(one, part) for one, part in chunks if one in _WEBP_KEPT]
    if b"ALPH" in names:
        if name != b"VP8 " or names[0] != b"VP8X":
            raise _Broken
        # Of the extended header's flags only that of transparency: colours, camera and movement are left out.
        sides = b"".join(struct.pack("<I", side - 1)[:3] for side in size)
        kept.insert(0, (b"VP8X", b"\x10\x00\x00\x00" + sides))
    parts = b"".join(one + struct.pack("<I", len(part)) + part + b"\x00" * (len(part) % 2) for one, part in kept)
    return Picture("image/webp", b"RIFF" + struct.pack("<I", len(parts) + 4) + b"WEBP" + parts, *size)


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place < len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        body = data[place + 8 : place + 8 + length]
        if len(body) != length:
            raise _Broken
        yield name, body
        place += 8 + length + length % 2


def _vp8_size(body: bytes) -> tuple[int, int]:
    if body[0] & 1 or body[3:6] != b"\x9d\x01\x2a":  # not a key frame
        raise _Broken
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _vp8l_size(body: bytes) -> tuple[int, int]:
    if body[0] != 0x2F:
        raise _Broken
    (bits,) = struct.unpack_from("<I", body, 1)
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
