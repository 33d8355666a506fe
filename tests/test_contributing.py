"""What CONTRIBUTING.md says is so: files are where it says, and the settings that it names can be read."""

import configparser
import re

import pytest
import yaml

from coursekit.folders import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| `([^`]+)` \|$", TEXT.partition("## Where things are")[2], re.MULTILINE)


def test_there_are_thirty_ideas():
    assert len(ROWS) >= 30
    assert len({idea for idea, _ in ROWS}) == len({file for _, file in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("idea", "file"), ROWS, ids=[file for _, file in ROWS])
def test_each_idea_is_where_the_table_says(idea, file):
    assert (ROOT / file).is_file()


def test_hooks_run_what_is_installed():
    hooks = [
        hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
        for hook in repo["hooks"]
    ]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert [hook["entry"].split()[:2] for hook in hooks] == [
        [".venv/bin/ruff", "check"],
        [".venv/bin/ruff", "format"],
    ]


def test_the_workflow_runs_what_everybody_runs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    [job] = workflow["jobs"].values()
    assert job["steps"][-1]["run"] == ".ci/run"
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


def test_the_editors_settings_can_be_read():
    text = (ROOT / ".editorconfig").read_text(encoding="utf-8")
    settings = configparser.ConfigParser()
    settings.read_string("[top]\n" + text)
    assert settings["top"]["root"] == "true"
    assert settings["Makefile"]["indent_style"] == "tab"
