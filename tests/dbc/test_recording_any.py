"""Opening recordings by content: what is none says so, and nothing is read without bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbc.errors import FileMissing, NotARecording, RecordingError, RecordingTooLarge
from dbc.recording import open_recording, recording_from_bytes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", bytes(range(256)) * 50, b"MDF", b"a,b,c\n1,2,3\n"]
)
def test_other_files_are_no_recordings(content: bytes) -> None:
    with pytest.raises(NotARecording):
        recording_from_bytes(content, "x.log")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="No such file"):
        open_recording(tmp_path / "no.log")
    with pytest.raises(FileMissing):
        open_recording(tmp_path)


def test_size_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "big.log"
    path.write_bytes(b"(1.0) can0 001#\n" * 10)
    with pytest.raises(RecordingTooLarge, match="160 bytes"):
        open_recording(path, max_bytes=100)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([b"", b"(1.0) can0 001#00\n", b"Time Stamp,ID,Extended,Bus,LEN,D1\n", b"Time Stamp,ID,x\xff,LEN"]),
    st.binary(max_size=300),
)
def test_any_bytes_end_in_frames_or_a_declared_error(head: bytes, content: bytes) -> None:
    try:
        recording = recording_from_bytes(head + content, "x.log")
    except RecordingError:
        return
    assert recording.format in {"candump", "gvret"}
