"""Pictures are known by their bytes and kept without what does not draw."""

import pytest

from bursar.grants.images import check_picture
from bursar.kernel.errors import DomainError
from tests.factories.pictures import chunk, jpeg, png, riff, segment, vp8, vp8l

EXIF = segment(0xE1, b"Exif\x00\x00 GPS 52.1 N")
REMARK = segment(0xFE, b"<script>alert(1)</script>")
EXTENDED = (b"VP8X", b"\x3c\x00\x00\x00" + b"\x1f\x00\x00" + b"\x0f\x00\x00")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (png(16, 40), png(16, 40)),
        (png(16, 40, chunk(b"tEXt", b"Author\x00Ada"), chunk(b"eXIf", b"GPS")), png(16, 40)),
        (png(16, 40) + b"<html>hidden behind the end</html>", png(16, 40)),
        (png(16, 40, chunk(b"gAMA", b"\x00\x00\xb1\x8f")), png(16, 40, chunk(b"gAMA", b"\x00\x00\xb1\x8f"))),
        (jpeg(16, 40), jpeg(16, 40)),
        (jpeg(16, 40, EXIF, REMARK, segment(0xE0, b"JFXX\x00\x10")), jpeg(16, 40)),
        (jpeg(16, 40) + b"PK\x03\x04", jpeg(16, 40)),
        (riff((b"VP8 ", vp8(16, 40))), riff((b"VP8 ", vp8(16, 40)))),
        (riff((b"VP8L", vp8l(16, 40))), riff((b"VP8L", vp8l(16, 40)))),
        (riff((b"VP8 ", vp8(16, 40)), (b"EXIF", b"GPS")) + b"tail", riff((b"VP8 ", vp8(16, 40)))),
        (
            riff(EXTENDED, (b"ICCP", b"x"), (b"ALPH", b"\x00"), (b"VP8 ", vp8(16, 40)), (b"XMP ", b"me")),
            riff(
                (b"VP8X", b"\x10\x00\x00\x00\x0f\x00\x00\x27\x00\x00"), (b"ALPH", b"\x00"), (b"VP8 ", vp8(16, 40))
            ),
        ),
    ],
    ids=range(11),
)  # fmt: skip
def test_picture__of_each_kind__keeps_only_what_draws(sent: bytes, kept: bytes) -> None:
    picture = check_picture(sent)
    assert (picture.width, picture.height) == (16, 40)
    assert picture.data == kept
    assert check_picture(kept).data == kept
    assert picture.content_type.partition("/")[2] in {"png", "jpeg", "webp"}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "text_missing"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "picture_not_possible"),
        (b"GIF89a" + b"\x00" * 100, "picture_not_possible"),
        (b"<html>", "picture_not_possible"),
        (png(15, 40), "picture_not_possible"),
        (png(2001, 16), "picture_not_possible"),
        (png(16, 40)[:-20], "picture_not_possible"),
        (png(16, 40).replace(b"IDAT", b"IDAx"), "picture_not_possible"),
        (png(16, 40, chunk(b"acTL", b"\x00" * 8)), "picture_not_possible"),
        (b"\x89PNG\r\n\x1a\n<script>", "picture_not_possible"),
        (jpeg(16, 5000), "picture_not_possible"),
        (jpeg(16, 40)[:-2], "picture_not_possible"),
        (b"\xff\xd8\xff\xe0<html>", "picture_not_possible"),
        (b"\xff\xd8\xff\xd9", "picture_not_possible"),
        (jpeg(16, 40, segment(0xC3, b"\x08\x00\x10\x00\x10\x01\x01\x11\x00")), "picture_not_possible"),
        (riff((b"VP8 ", vp8(16, 16000))), "picture_not_possible"),
        (riff((b"ANIM", b"\x00" * 6), (b"VP8 ", vp8(16, 40))), "picture_not_possible"),
        (riff((b"VP8 ", vp8(16, 40)), (b"VP8L", vp8l(16, 40))), "picture_not_possible"),
        (riff((b"VP8 ", b"\x01" + vp8(16, 40)[1:])), "picture_not_possible"),
        (riff((b"VP8 ", vp8(16, 40)))[:-4], "picture_not_possible"),
        (riff(), "picture_not_possible"),
        (png(16, 40) + b"\x00" * (512 * 1024), "file_too_large"),
    ],
)
def test_picture__not_what_it_claims_to_be_or_too_large__is_refused(data: bytes, code: str) -> None:
    with pytest.raises(DomainError) as refusal:
        check_picture(data)
    assert refusal.value.code == code
