"""Writing a file in one step."""

import os

import pytest

from part_utils.files import write_atomically


def test_replaces_the_content_and_leaves_nothing_else_behind(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    write_atomically(path, "one")
    path.chmod(0o640)
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("failing", ["fsync", "replace", "chmod"])
def test_a_failure_on_the_way_leaves_the_old_content(tmp_path, monkeypatch, failing):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]
