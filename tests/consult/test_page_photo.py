"""Photos lose their place on the way into a room; Pillow, which reads metadata by itself, is the witness."""

import io

import numpy as np
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from test_page_modules import run_modules

PLACE = "31.2304"


def picture(kind, *, side=6, **more):
    """A photo with a place, a time, a camera and a comment."""
    pixels = np.random.default_rng(3).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Make], exif[Base.DateTime] = side, "Phone", "2026:11:30 10:00:00"
    gps = exif.get_ifd(IFD.GPSInfo)
    gps[GPS.GPSLatitudeRef], gps[GPS.GPSLatitude] = "N", (31.0, 13.0, 49.44)
    gps[GPS.GPSProcessingMethod] = PLACE.encode()
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, exif=exif, **more)
    return out.getvalue()


PICTURES = {
    "plain.jpg": lambda: picture("JPEG", comment=f"at {PLACE}", quality=92),
    "progressive.jpg": lambda: picture("JPEG", progressive=True, xmp=f"<x>{PLACE}</x>".encode(), side=3),
    "upright.jpg": lambda: picture("JPEG", side=1),
    "one.png": lambda: picture("PNG"),
}


def test_a_photo_keeps_what_is_seen_and_loses_where_and_when(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    before = {name: make() for name, make in PICTURES.items()}
    # APP11, as C2PA has it, and an Exif segment before the good one that says nothing.
    provenance = f"JUMBF {PLACE}".encode()
    more = b"\xff\xeb" + (len(provenance) + 2).to_bytes(2, "big") + provenance + b"\xff\xe1\0\x0aExif\0\0MM"
    before["provenance.jpg"] = before["plain.jpg"][:2] + more + before["plain.jpg"][2:]
    before["behind.jpg"] = (
        before["plain.jpg"] + before["upright.jpg"]
    )  # a second picture behind the first, as phones do
    for name, data in before.items():
        assert PLACE.encode() in data
        (folder / name).write_bytes(data)
    run_modules(tmp_path / "page", ("photo",), "page_photo.mjs", PICTURES=str(folder))
    for name, data in before.items():
        left = (folder / name).read_bytes()
        assert PLACE.encode() not in left, name
        assert b"Phone" not in left, name
        assert b"2026:11" not in left, name
        then, now = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(left))
        assert np.array_equal(np.asarray(then), np.asarray(now)), name
        assert GPS.GPSLatitude not in now.getexif().get_ifd(IFD.GPSInfo), name
        assert now.info.get("icc_profile") == then.info.get("icc_profile")
        if name.endswith(".jpg"):
            side = {"progressive.jpg": 3, "upright.jpg": 1}.get(name, 6)
            assert now.getexif().get(Base.Orientation, 1) == side, "which side is up is no secret, and is needed"
            assert set(now.getexif()) <= {Base.Orientation}


REFUSED = [b"\xff\xd8\xff\xe1\xff\xff", b"\xff\xd8\xff\xe0", b"\xff\xd8gps", b"\x89PNG\r\n\x1a\n\0\0\xff\xff"]


def test_a_damaged_picture_tells_no_place_either(tmp_path):
    """One that was cut is still shown by browsers; of one whose parts cannot be told apart nothing is sent."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    whole = picture("JPEG", quality=92)
    cut, other = whole[: len(whole) * 3 // 4], b"%PDF-1.7 no picture at all"
    (folder / "cut.jpg").write_bytes(cut)
    (folder / "other").write_bytes(other)
    (folder / "empty").write_bytes(b"")
    for n, data in enumerate(REFUSED):
        (folder / f"refused-{n}").write_bytes(data)
    run_modules(tmp_path / "page", ("photo",), "page_photo.mjs", PICTURES=str(folder))
    left = (folder / "cut.jpg").read_bytes()
    assert PLACE.encode() in cut
    assert PLACE.encode() not in left
    assert left.endswith(cut[-200:] + b"\xff\xd9")
    assert [(folder / name).read_bytes() for name in ("other", "empty")] == [other, b""]
    assert [(folder / f"refused-{n}").read_bytes() for n in range(len(REFUSED))] == [b"refused"] * len(REFUSED)
