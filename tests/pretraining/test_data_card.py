"""The measured parts of DATA.md are replaced, and nothing else in it."""

import json

import pytest

from part_utils.bundled_files import DATA
from pretraining.data_card import files_table, replaced

TEXT = "Before.\n<!-- loss -->\nold\n<!-- end -->\nBetween.\n<!-- files -->\n<!-- end -->\nAfter.\n"


def test_only_what_is_measured_changes() -> None:
    found = replaced(TEXT, {"loss": [r"new \1 line", "and another"], "files": ["table"]})
    assert found == (
        "Before.\n<!-- loss -->\nnew \\1 line\nand another\n<!-- end -->\nBetween.\n"
        "<!-- files -->\ntable\n<!-- end -->\nAfter.\n"
    )
    assert replaced(found, {"loss": ["old"], "files": []}) != found


def test_a_missing_part_is_named() -> None:
    with pytest.raises(ValueError, match="<!-- latents -->"):
        replaced(TEXT, {"latents": []})


def test_the_bundled_card_names_every_file_with_its_sum() -> None:
    card = (DATA / "DATA.md").read_text()
    for name, sha256 in json.loads((DATA / "manifest.json").read_text())["sha256"].items():
        assert f"`{name}`" in card
        assert sha256 in card
    assert replaced(card, {"files": files_table(DATA)}) == card
