#!/usr/bin/env bash
# Builds the sdist and from it the wheel, installs the wheel into an empty environment, and tries it there without the
# checkout: bash tests/installed/run.sh [FOLDER for the environment]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-$(mktemp -d)}
python=${PYTHON:-python3}
unset PYTHONPATH

"$python" -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet build
"$work/env/bin/python" -m build --outdir "$work/dist" "$root" >/dev/null
"$work/env/bin/python" -m pip uninstall --quiet --yes build pyproject_hooks
"$work/env/bin/python" -m pip install --quiet -c "$root/constraints.txt" "$work"/dist/*.whl
mkdir -p "$work/elsewhere"
cd "$work/elsewhere"
"$work/env/bin/python" "$root/tests/installed/try_everything.py" "$root"
