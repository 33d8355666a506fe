"""Run chapters as in a Colab: in a session that was started before the course was installed, without the checkout.

    python -m venv colab && colab/bin/pip install -r PINS      # the packages of a Colab, in its versions
    pip wheel --no-deps -w w .
    python tests/installed/imitated_colab.py colab/bin/python w/*.whl 00 01 02 04

The first cell installs the wheel in place of the repository. Where it says so the session is restarted, as a learner
would do. Every other cell of the untouched and of the solved notebook has to run.
"""

import json
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
SECONDS = 600


def main(python: str, wheel: str, *chapters: str) -> int:
    failures = []
    for number in chapters:
        for kind in ("chapters", "solutions"):
            [path] = ROOT.glob(f"{kind}/{number}_*/*.ipynb")
            problem = run(Path(python).absolute(), Path(wheel).resolve(), path)
            print(f"{path.relative_to(ROOT)}: {problem or 'runs'}", flush=True)
            failures += [problem] * bool(problem)
    return len(failures)


def run(python: Path, wheel: Path, path: Path) -> str:
    """What goes wrong, if anything does."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "kernels", "colab")
        folder.mkdir(parents=True)
        command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (folder / "kernel.json").write_text(
            json.dumps({"argv": command, "display_name": "", "language": "python"})
        )
        specs = KernelSpecManager(kernel_dirs=[str(folder.parent)])
        manager = KernelManager(kernel_name="colab", kernel_spec_manager=specs)
        manager.start_kernel(cwd=scratch, env={"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": scratch})
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
            for number, source in enumerate(cells):
                if "%pip install" in source:
                    line = next(line for line in source.splitlines() if "%pip" in line)
                    source = source.replace(line.split('"')[1], str(wheel))
                printed: list[str] = []

                def note(message: dict, printed: list[str] = printed) -> None:
                    printed.append(message["content"].get("text", ""))

                reply = client.execute_interactive(source, timeout=SECONDS, output_hook=note)
                if reply["content"]["status"] == "error":
                    return f"cell {number} ({source[:60]!r}): {reply['content']['ename']}: {reply['content']['evalue']}"
                if "Restart it now" in "".join(printed):
                    print("".join(printed), flush=True)
                    manager.restart_kernel(now=True)
                    client.wait_for_ready(timeout=60)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
