"""Pictures, made byte by byte."""

import struct
import zlib


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *more: bytes, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """A PNG of one colour; more: chunks between header and points."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    points = zlib.compress((b"\x00" + bytes(colour) * width) * height)
    parts = (chunk(b"IHDR", header), *more, chunk(b"IDAT", points), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def segment(mark: int, body: bytes) -> bytes:
    return bytes((0xFF, mark)) + struct.pack(">H", len(body) + 2) + body


def jpeg(width: int, height: int, *more: bytes, scan: bytes = b"\x01\xff\x00\x02\xff\xd0\x03") -> bytes:
    """The parts of a baseline JPEG; its scan is nothing that could be drawn."""
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    parts = (segment(0xE0, b"JFIF\x00\x01\x01"), *more, segment(0xDB, b"\x00" * 65), segment(0xC0, frame))
    return b"\xff\xd8" + b"".join(parts) + segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + scan + b"\xff\xd9"


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = b"".join(n + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2) for n, body in chunks)
    return b"RIFF" + struct.pack("<I", len(parts) + 4) + b"WEBP" + parts


def vp8(width: int, height: int) -> bytes:
    return b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"\x07"


def vp8l(width: int, height: int) -> bytes:
    return b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14)
