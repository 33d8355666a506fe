"""The files that come with the course, each held against its SHA-256."""

import hashlib
import json
from pathlib import Path

DATA = Path(__file__).parent / "data"
_TEXT = (".json", ".md", ".txt")


def bundled_file(name: str) -> Path:
    """Return the path of a bundled file after comparing its SHA-256 with the one in `manifest.json`.

    Args:
        name: below `part_utils/data`, such as `"tokenizer/tokenizer.json"`.

    Raises a ValueError where the file is missing, truncated or altered.
    """
    path = DATA / name
    manifest = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
    expected = manifest["sha256"][name]
    if not path.exists():
        raise ValueError(f"{path} is missing: reinstall the course, or fetch the file again with git.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected and path.suffix in _TEXT:
        # Git for Windows may have given the lines other ends, which changes no content.
        found = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is damaged or altered (SHA-256 {found[:12]}… instead of {expected[:12]}…): "
            "reinstall the course, or fetch the file again with git."
        )
    return path
