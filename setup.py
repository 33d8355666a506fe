"""Puts the chapters into the package: what `course start` gives to somebody who has no checkout.

Everything else is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# The learners' notebooks, the pictures that they show, and the words of the exercises.
MATERIAL = ("chapters/*/*.ipynb", "images/*.svg", "images/*.png", "images/*.gif", "solutions/*/*.md")


class BuildWithMaterial(build_py):
    """Copies the material into `coursekit/material`. An editable installation reads it from the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for pattern in MATERIAL:
            for path in ROOT.glob(pattern):
                target = Path(self.build_lib) / "coursekit" / "material" / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


setup(cmdclass={"build_py": BuildWithMaterial})
