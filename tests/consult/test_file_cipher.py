"""A room's files are encrypted piece by piece."""

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servicekit import where_found

from consult.errors import UploadBroken
from consult.roomcipher import FILE_MAGIC, FileCipher, RoomKey
from consult.roomfiles import RoomFiles, SealedFile
from consult.roomkeys import KeyStore
from consult.sealederrors import ContentBroken

ROOM = "0123456789ab"


@pytest.fixture
def keys(tmp_path):
    return KeyStore(tmp_path / "rooms" / "keys")


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def room_files(tmp_path):
    return RoomFiles(tmp_path / "a.files", FileCipher(RoomKey.generate(ROOM)))


def bring(files, data, pieces=4, name="a.png"):
    sha256 = digest(data)
    files.begin(sha256, len(data))
    size = -(-len(data) // pieces)
    for at in range(0, len(data), size):
        files.append(sha256, data[at : at + size])
    return files.finish(sha256, name)


def test_a_file_is_stored_encrypted_and_read_again(room_files, tmp_path):
    path, kind = bring(room_files, PNG)
    assert kind.media_type == "image/png"
    assert path.name != digest(PNG), "who has the file does not learn that it was shown here"
    assert where_found(tmp_path, PNG[:64], bytes(range(64)), bytes.fromhex(digest(PNG))) == []
    with room_files.open(digest(PNG)) as file:
        assert file.read() == PNG
    assert room_files.open(digest(b"other")) is None
    with pytest.raises(UploadBroken):
        bring(room_files, b"\x7fELF" + bytes(100))
    assert [one.name for one in (tmp_path / "a.files").iterdir()] == [path.name]
    made = tmp_path / "made.bin"
    made.write_bytes(b"\x00anything" * 1000)
    content = made.read_bytes()
    room_files.take_in(made, digest(content))
    with room_files.open(digest(content)) as file:
        assert (file.read(), made.exists()) == (content, False)
    assert where_found(tmp_path, content[:32]) == [], "what the service made itself is encrypted, too"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=8), st.data())
def test_a_sealed_file_reads_like_its_content(tmp_path_factory, pieces, data):
    folder = tmp_path_factory.mktemp("sealed")
    cipher, content = FileCipher(RoomKey.generate(ROOM)), b"".join(pieces)
    files = RoomFiles(folder, cipher)
    for piece in pieces:
        files.append(digest(content), piece)
    part = folder / f"{cipher.name(digest(content))}.part"
    torn = part.read_bytes()[: data.draw(st.integers(0, part.stat().st_size))]
    with SealedFile(part, cipher, digest(content)) as file:
        at = data.draw(st.integers(0, len(content)))
        file.seek(at)
        assert (file.bytes, file.read()) == (len(content), content[at:])
    part.write_bytes(torn)
    files = RoomFiles(folder, cipher)
    have = files.offset(digest(content))
    if have < len(content):
        files.append(digest(content), content[have:])
    with files._opened(part, digest(content)) as file:
        assert file.read() == content, "it goes on behind the last whole piece"


def test_pieces_of_a_file_cannot_be_moved(room_files):
    data = PNG + random.Random(1).randbytes(10_000)
    path, _ = bring(room_files, data, pieces=2)
    stored = path.read_bytes()
    half = len(FILE_MAGIC) + (len(stored) - len(FILE_MAGIC)) // 2
    first, second = stored[len(FILE_MAGIC) : half], stored[half:]
    for wrong in (FILE_MAGIC + second + first, stored[:-1] + b"\0"):
        path.write_bytes(wrong)
        with room_files.open(digest(data)) as file, pytest.raises(ContentBroken):
            file.read()
