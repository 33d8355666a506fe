"""The colors have one source."""

import re
from pathlib import Path

from part_utils import palette

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".py", ".css", ".js", ".html"}


def test_no_color_of_the_palette_is_written_anywhere_else():
    colors = {*palette.COLORS, *palette.LIGHT_PAGE.values(), *palette.DARK_PAGE.values()} - {"#FFFFFF"}
    channels = [r",? ?".join(map(str, palette.rgb(color))) for color in sorted(colors)]
    written = re.compile("|".join([*sorted(colors), *(rf"\b{numbers}\b" for numbers in channels)]), re.I)
    files = [
        path
        for folder in ("part_utils", "coursekit", "pretraining", "images")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SUFFIXES and path.name != "palette.py"
    ]
    assert [str(path) for path in files if written.search(path.read_text(encoding="utf-8"))] == []


def test_styles_have_no_colors_of_their_own():
    styles = [path for folder in ("part_utils", "coursekit") for path in (ROOT / folder).rglob("*.css")]
    assert len(styles) >= 3
    for path in styles:
        declarations = re.sub(r"(?m)^[^{]*\{", "", path.read_text(encoding="utf-8"))
        # What stands behind a picture that was made for paper is white, whatever the page.
        assert set(re.findall(r"#[0-9a-f]{3,8}\b", declarations, re.I)) <= {"#fff"}, path


def test_a_page_has_each_color_in_light_and_in_dark():
    assert palette.LIGHT_PAGE.keys() == palette.DARK_PAGE.keys()
    light, dark = palette.page_colors(".page").split("@media (prefers-color-scheme: dark)")
    for style, colors in ((light, palette.LIGHT_PAGE), (dark, palette.DARK_PAGE)):
        assert dict(re.findall(r"--(\w+): (#\w+);", style)) == colors
