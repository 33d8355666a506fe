"""Makes the stored class folder of release 0.1.0 that `test_class_folder.py` goes on with.

    git worktree add /tmp/0.1.0 4cfdce0
    cd /tmp/0.1.0 && PYTHONPATH=. python /path/to/tests/releases/make_class_folder.py

Runs that release's own `release` and `grade` on two learners, and an instructor's points and comment by hand.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

STORED = Path(__file__).with_name("class_folder_0_1_0.tar.gz")
ZERO = "00_start_here"


def main() -> None:
    """Grade anna, who solved everything, and ben, who solved nothing, and store what there is then."""
    with tempfile.TemporaryDirectory() as scratch:
        course, handed_in = Path(scratch) / "class", Path(scratch) / "in"
        handed_in.mkdir()
        shutil.copy(f"solutions/{ZERO}/{ZERO}.ipynb", handed_in / "anna.ipynb")
        shutil.copy(f"chapters/{ZERO}/{ZERO}.ipynb", handed_in / "ben.ipynb")
        command = [sys.executable, "-c", "from part_utils.course.cli import app; app()"]
        for arguments in (["release", "00"], ["grade", str(handed_in), "--chapter", "00"]):
            subprocess.run([*command, *arguments, "--course", str(course)], check=True)
        by_hand = (
            "import sys; from pathlib import Path; from part_utils.course.grading.gradebook import Gradebook\n"
            "with Gradebook(Path(sys.argv[1])) as book:\n"
            f"    book._book.find_grade('check_0_1', {ZERO!r}, {ZERO!r}, 'ben').manual_score = 0.5\n"
            f"    book._book.find_comment('exercise_0_1', {ZERO!r}, {ZERO!r}, 'ben').manual_comment = 'Nearly.'\n"
            "    book._book.db.commit()\n"
        )
        subprocess.run([sys.executable, "-c", by_hand, str(course)], check=True)
        with tarfile.open(STORED, "w:gz") as archive:
            for path in sorted(course.rglob("*")):
                if path.is_file():
                    archive.add(path, path.relative_to(course).as_posix())


if __name__ == "__main__":
    main()
