"""Hostile and broken submissions of chapter 0, each a notebook with the points that it must get.

Most attacks stand at the top of an exercise's function and end in the right answer: they earn the point if, and
only if, the attack is let through. `kind` is the number in the list of 30 kinds that the tests' docstring gives.
"""

from __future__ import annotations

import copy
import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SLUG = "00_start_here"
RIGHT = {
    "0.1": 'def project_features(features, W):\n    return t.einsum("bif,ihf->bih", features, W)',
    "0.2": 'def reconstruct(acts, W_dec):\n    return t.einsum("bil,ilx->bix", acts, W_dec)',
    "0.3": "def decoder_as_matrix(W_dec, instance):\n    return W_dec[instance].T",
}
SECRET = "/SECRET/"
UNWRITABLE = ("/tmp", "/dev/shm", "/var/tmp", str(ROOT / "part_utils"), "/usr/lib", "/proc/self")
MARK = "written-by-a-learner"


@dataclass(frozen=True)
class Case:
    """One submission: its bytes, the points of 0.1, 0.2 and 0.3, and what the message of 0.1 must hold."""

    name: str
    kind: int
    content: bytes
    points: tuple[int, int, int]
    says: tuple[str, ...] = ()
    beside: dict[str, str] = field(default_factory=dict)


def solved() -> dict[str, Any]:
    return json.loads((ROOT / "solutions" / SLUG / f"{SLUG}.ipynb").read_text())


def released() -> dict[str, Any]:
    return json.loads((ROOT / "chapters" / SLUG / f"{SLUG}.ipynb").read_text())


def cell(source: str, kind: str = "code") -> dict[str, Any]:
    extra = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {
        "cell_type": kind,
        "metadata": {},
        "source": source,
        "id": f"x{abs(hash(source)) % 10**9}",
        **extra,
    }


def grade_id(one: dict[str, Any]) -> str:
    return one["metadata"].get("nbgrader", {}).get("grade_id", "")


def notebook(sources: dict[str, str] | None = None, first: str = "", last: str = "") -> dict[str, Any]:
    """The solved notebook with some exercises' cells replaced, and code before or behind everything else."""
    book = solved()
    for one in book["cells"]:
        one.pop("outputs", None)
        if one["cell_type"] == "code":
            one["outputs"] = []
        for exercise, source in {**RIGHT, **(sources or {})}.items():
            if grade_id(one) == f"exercise_{exercise.replace('.', '_')}":
                one["source"] = source
    if first:
        book["cells"].insert(0, cell(first))
    if last:
        book["cells"].append(cell(last))
    return book


def dumped(book: Any) -> bytes:
    return json.dumps(book).encode()


def crowded(count: int) -> dict[str, Any]:
    """The solved notebook below very many other cells."""
    book = notebook()
    book["cells"] = [cell(f"x{number} = {number}") for number in range(count)] + book["cells"]
    return book


def attack(code: str, then: str = "") -> str:
    """Exercise 0.1 with an attack in front of the right answer."""
    then = then or 'return t.einsum("bif,ihf->bih", features, W)'
    return f"def project_features(features, W):\n{textwrap.indent(textwrap.dedent(code).strip(), '    ')}\n    {then}"


def cases(secret: str) -> list[Case]:
    """All of them. `secret` is a folder with a gradebook, another submission and a key, which no job may touch."""
    found: list[Case] = []

    def add(
        name: str, kind: int, source: Any, points: tuple[int, int, int], *says: str, **beside: str
    ) -> None:
        content = source if isinstance(source, bytes) else dumped(source)
        content = content.replace(SECRET.encode(), f"{secret}/".encode())
        found.append(Case(name, kind, content, points, says, beside))

    def one(
        name: str, kind: int, source: str, point: int, *says: str, first: str = "", last: str = ""
    ) -> None:
        add(name, kind, notebook({"0.1": source}, first, last), (point, 1, 1), *says)

    wrong = "def project_features(features, W):\n    return t.zeros(features.shape[0], *W.shape[:2])"

    # 1, 2, 3: honest work
    add("honest", 1, notebook(), (1, 1, 1))
    add("honest-as-shipped", 1, solved(), (1, 1, 1))
    one(
        "honest-loop",
        1,
        "def project_features(features, W):\n"
        "    return t.stack([features[:, i] @ W[i].T for i in range(len(W))], dim=1)",
        1,
    )
    one(
        "honest-helper",
        1,
        "def project_features(features, W):\n    return helper(features, W)",
        1,
        last='def helper(a, b):\n    return t.einsum("bif,ihf->bih", a, b)',
    )
    add("untouched", 2, released(), (0, 0, 0), "still to be solved")
    one("pass", 2, "def project_features(features, W):\n    pass", 0, "None")
    one("wrong-1", 3, wrong, 0, "Your result is 0 everywhere")
    add("wrong-2", 3, notebook({"0.2": "def reconstruct(acts, W_dec):\n    return acts"}), (1, 0, 1))
    add(
        "wrong-3",
        3,
        notebook({"0.3": "def decoder_as_matrix(W_dec, instance):\n    return W_dec[instance]"}),
        (1, 1, 0),
    )

    # 4: syntax errors
    one("syntax-error", 4, "def project_features(features, W)\n    return 1", 0, "SyntaxError")
    one("syntax-elsewhere", 4, RIGHT["0.1"], 1, first="this is no Python")
    one("indentation", 4, "def project_features(features, W):\nreturn 1", 0, "IndentationError")
    one("nested-parentheses", 4, "x = " + "(" * 5000 + ")" * 5000 + "\n" + RIGHT["0.1"], 0)

    # 5, 6: the notebook's machinery
    transform = "import IPython\nip = get_ipython()\nip.input_transformers_post.append(lambda lines: [])"
    one("input-transformer", 5, wrong, 0, first=transform)
    one(
        "input-transformer-used",
        5,
        "def project_features(features, W):\n    ip\n    return features",
        0,
        first="ip = get_ipython()\nip.input_transformers_cleanup.append(lambda lines: ['pass'])",
    )
    drop = "import ast\nclass Drop(ast.NodeTransformer):\n    def visit_Assert(self, n):\n        return ast.Pass()\n"
    one("ast-transformer", 6, wrong, 0, first=drop + "get_ipython().ast_transformers.append(Drop())")

    # 7, 8: objects that claim to be equal
    always = (
        "class Yes{base}:\n    def __eq__(self, other): return True\n    __ne__ = __lt__ = __le__ = __gt__ = __eq__\n"
        "    def __bool__(self): return True\n    def __hash__(self): return 1\n"
        "    def __getattr__(self, name): return self\n    def __call__(self, *a, **k): return self\n"
    )
    for base in ("", "(float)", "(int)", "(str)", "(dict)"):
        one(
            f"always-equal{base}",
            7,
            "def project_features(features, W):\n    return Yes()",
            0,
            first=always.format(base=base),
        )
    lying = (
        "class Lying(Tensor):\n    @classmethod\n    def __torch_function__(cls, func, types, args=(), kwargs=None):\n"
        "        name = getattr(func, '__name__', '')\n"
        "        if name in ('allclose', 'equal', 'isclose', '__eq__', 'eq', 'all', 'any', 'item'): return True\n"
        "        return super().__torch_function__(func, types, args, kwargs or {})\n"
    )
    one(
        "lying-tensor",
        8,
        "def project_features(features, W):\n"
        "    return t.zeros(features.shape[0], *W.shape[:2]).as_subclass(Lying)",
        0,
        "Your result is 0 everywhere",
        first=lying,
    )
    self_made = lying.replace(
        "return super", "return cls() if name in ('detach', 'clone', 'as_subclass') else super"
    )
    one(
        "tensor-that-stays",
        8,
        "def project_features(features, W):\n    return t.zeros(3).as_subclass(Lying)",
        0,
        first=self_made,
    )

    # 9: patched judges
    patches = {
        "torch": "t.allclose = t.equal = t.isclose = lambda *a, **k: True",
        "tensor": "t.Tensor.__eq__ = t.Tensor.equal = t.Tensor.allclose = lambda *a, **k: True",
        "testing": "import numpy.testing as n\nn.assert_allclose = t.testing.assert_close = lambda *a, **k: None",
        "pytest": "import sys\nsys.modules['pytest'] = sys.modules['unittest'] = None",
        "judge": "from coursekit.checking import claims as checking\nchecking.agree = lambda *a, **k: True\n"
        "checking.Check.equal = checking.Check.holds = lambda *a, **k: None",
        "runner": "from coursekit.checking import running, results\nrunning.run_check = lambda e, l, s=0: None\n"
        "results.CheckResult.passed = True",
        "catalogue": "from coursekit import catalogue\nfor e in catalogue.all_exercises():\n"
        "    object.__setattr__(e, 'check', lambda check: None)",
    }  # fmt: skip
    for name, code in patches.items():
        one(
            f"patches-{name}",
            9,
            attack(code, "return t.zeros(features.shape[0], *W.shape[:2])"),
            0,
            "Your result is 0 everywhere",
        )

    # 10: looking for what the check knows
    one(
        "frames",
        10,
        attack("""
        import sys
        frame = sys._getframe()
        while frame:
            if 'expected' in frame.f_locals: return frame.f_locals['expected']
            frame = frame.f_back
        raise LookupError('nothing found')
    """),
        0,
        "nothing found",
    )
    one(
        "garbage",
        10,
        attack("""
        import gc
        for thing in gc.get_objects():
            if isinstance(thing, t.Tensor) and thing.shape == (features.shape[0], *W.shape[:2]): return thing
        raise LookupError('nothing found')
    """),
        0,
        "nothing found",
    )
    one(
        "generators",
        10,
        attack("""
        import gc
        loot = [x for x in gc.get_objects() if isinstance(x, t.Generator) and x is not t.default_generator]
        if not loot: raise LookupError('nothing found')
    """),
        0,
        "nothing found",
    )
    one(
        "environment",
        10,
        attack("""
        import os
        if 'COURSE_TEST_SECRET' in os.environ or b'COURSE_TEST_SECRET' in open('/proc/self/environ', 'rb').read():
            return t.einsum("bif,ihf->bih", features, W)
        raise LookupError('nothing found')
    """),
        0,
        "nothing found",
    )

    # 11: searching the disk
    one("reads-gradebook", 11, attack("open('/SECRET/gradebook.db', 'rb').read()"), 0, "Error")
    one("reads-neighbor", 11, attack("open('/SECRET/submitted/zoe/00_start_here.ipynb').read()"), 0, "Error")
    one(
        "walks-the-disk",
        11,
        attack("""
        import os
        loot = [f for _, _, files in os.walk('/') for f in files if f in ('gradebook.db', 'key.pem', 'seed.txt')]
        if not loot: raise LookupError('nothing found')
    """),
        0,
    )
    for path in (
        "/etc/passwd",
        "/etc/hostname",
        "/proc/1/environ",
        "/proc/1/cmdline",
        "/proc/1/root/etc/passwd",
        str(ROOT / "pyproject.toml"),
        "/root/.bashrc",
        "/sys/kernel/notes",
    ):
        one(
            f"reads-{path.removeprefix(str(ROOT)).strip('/').replace('/', '-')}",
            11,
            attack(f"open({path!r}, 'rb').read()"),
            0,
            "Error",
        )
    one("lists-home", 11, attack("import os\nos.listdir('/SECRET/')"), 0, "Error")
    one(
        "follows-link",
        11,
        attack("import os\nos.symlink('/SECRET/key.pem', 'link')\nopen('link').read()"),
        0,
        "Error",
    )

    # 12: files beside the notebook
    evil = "raise RuntimeError('a shipped file was run')"
    add("ships-modules", 12, notebook(), (1, 1, 1), **{
        "torch.py": evil, "conftest.py": evil, "sitecustomize.py": evil, "part_utils.py": evil, "json.py": evil,
        "pytest.ini": "[pytest]\naddopts = --help", ".env": "PATH=", "usercustomize.py": evil,
    })  # fmt: skip
    one("imports-shipped", 12, attack("import shipped"), 0, "shipped")
    found[-1].beside["shipped.py"] = "x = 1"

    # 13, 14: ways to leave
    for name, code in {
        "exit": "import os\nos._exit(0)",
        "abort": "import os\nos.abort()",
        "segfault": "import ctypes\nctypes.string_at(0)",
        "kill-self": "import os, signal\nsignal.raise_signal(signal.SIGKILL)\nos.kill(os.getpid(), 9)",
        "exec": "import os\nos.execv('/bin/true', ['true'])",
        "close-all": "import os\nos.closerange(3, 256)",
    }.items():
        one(f"leaves-{name}", 13, attack(code), 0)
    one(
        "leaves-while-loading",
        13,
        attack("_"),
        0,
        "ended the Python process",
        first="import os\n_ = os._exit(0)",
    )
    for name in (
        "SystemExit(0)",
        "KeyboardInterrupt()",
        "GeneratorExit()",
        "BaseException('x')",
        "StopIteration()",
    ):
        one(f"raises-{name.partition('(')[0]}", 14, attack(f"raise {name}"), 0)
    one("raises-while-loading", 14, attack("_"), 0, first="_ = exit(0)")
    one(
        "unprintable-error",
        14,
        attack("""
        class Bad(Exception):
            def __str__(self): raise Bad()
        raise Bad()
    """),
        0,
    )

    # 15, 16: loops
    one(
        "ignores-signals",
        15,
        attack("""
        import signal
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP, signal.SIGXCPU):
            signal.signal(number, signal.SIG_IGN)
        while True:
            try:
                while True: pass
            except BaseException: pass
    """),
        0,
        "stopped after",
    )
    one(
        "loops-in-c",
        15,
        attack("import collections, itertools\ncollections.deque(itertools.repeat(0), maxlen=0)"),
        0,
        "stopped after",
    )
    one("sleeps", 15, attack("import time\ntime.sleep(10**6)"), 0, "stopped after")
    one(
        "endless-cell",
        16,
        attack("rate"),
        0,
        "Cell 1 of your notebook was stopped",
        first="for _ in iter(int, 1):\n    rate = 2",
    )
    one("endless-cell-unused", 16, RIGHT["0.1"], 1, first="while True:\n    pass")

    # 17, 18, 22: memory and disk
    for name, code in {
        "tensor": "t.zeros(4 * 10**9)",
        "bytes": "bytearray(16 << 30)",
        "numpy": "import numpy as np\nnp.ones(2 * 10**9)",
        "list": "x = [0] * (2 << 30)",
    }.items():
        one(f"allocates-{name}", 17, attack(code), 0, "emory")
    one("leaks", 18, attack("while True: LEAK.append(t.ones(1 << 22))"), 0, "emory", first="LEAK = []")
    one(
        "fills-disk",
        22,
        attack("with open('big', 'wb') as f:\n    for _ in range(4096): f.write(bytes(1 << 20))"),
        0,
        "Error",
    )
    one(
        "fills-disk-in-parts",
        22,
        attack("""
        for n in range(4096):
            with open(f'part{n}', 'wb') as f: f.write(bytes(1 << 24))
    """),
        0,
        "Error",
    )
    one("many-files", 22, attack("for n in range(200_000): open(f'f{n}', 'w').close()"), 0, "stopped")
    for folder in UNWRITABLE:
        name = "part-utils" if folder.endswith("part_utils") else folder.strip("/").replace("/", "-")
        one(f"writes-{name}", 22, attack(f"open('{folder}/{MARK}', 'w').write('x')"), 0, "Error")
    one(
        "deep-folders",
        22,
        attack("import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')"),
        0,
        "stopped",
    )

    # 19, 20: processes and threads
    for name, code in {
        "fork": "import os\nwhile True: os.fork()",
        "vfork": "import ctypes, os\nif ctypes.CDLL(None).vfork() < 0: raise PermissionError('vfork')",
        "subprocess": "import subprocess\nsubprocess.run(['true'])",
        "multiprocessing": "import multiprocessing as m\np = m.get_context('fork').Process(target=print)\np.start()",
        "spawn": "import os\nos.posix_spawn('/bin/true', ['true'], {})",
    }.items():
        one(f"forks-{name}", 19, attack(code), 0, "Error")
    one(
        "system",
        19,
        attack("import os\nif os.system('true') != 0: raise PermissionError('no shell')"),
        0,
        "no shell",
    )
    one(
        "threads",
        20,
        attack("""
        import threading, time
        threading.stack_size(1 << 16)
        for _ in range(20_000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        time.sleep(1)
    """),
        0,
    )

    # 21: floods
    one("floods-stdout", 21, attack("for _ in range(1024): print('x' * (1 << 20))"), 1)
    one("floods-stderr", 21, attack("import sys\nfor _ in range(1024): sys.stderr.write('x' * (1 << 20))"), 1)
    one("floods-descriptor", 21, attack("import os\nfor _ in range(1024): os.write(1, b'x' * (1 << 20))"), 1)

    # 23: network
    for name, code in {
        "tcp": "import socket\nsocket.create_connection(('127.0.0.1', 80), 1)",
        "udp": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))",
        "unix": "import socket\nsocket.socket(socket.AF_UNIX).connect('/run/x')",
        "http": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1/')",
        "netlink": "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    }.items():
        one(f"network-{name}", 23, attack(code), 0, "Error")

    # 24: damage
    for name, code in {
        "removes": "import os\nos.remove('/SECRET/gradebook.db')",
        "overwrites": "open('/SECRET/gradebook.db', 'w').write('')",
        "rmtree": "import shutil\nshutil.rmtree('/SECRET/')",
        "edits-neighbor": "open('/SECRET/submitted/zoe/00_start_here.ipynb', 'a').write(' ')",
        "chmod": "import os\nos.chmod('/SECRET/gradebook.db', 0)",
        "kills-others": "import os\nfor p in (1, 2, os.getppid()): os.kill(p, 9)",
        "ptrace": "import ctypes\nif ctypes.CDLL(None).ptrace(16, 2, 0, 0) != 0: raise PermissionError('ptrace')",
        "limits-others": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))",
        "mounts": "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000) != 0: raise PermissionError('unshare')",
    }.items():
        one(f"damage-{name}", 24, attack(code), 0, "Error")

    # 25: forged frames
    forge = "import os, stat, struct\nfds = [f for f in range(3, 256) if is_socket(f)]\n"
    helper = (
        "import os, stat\ndef is_socket(f):\n    try: return stat.S_ISSOCK(os.fstat(f).st_mode)\n"
        "    except OSError: return False"
    )
    forged = {
        "garbage": "b'\\xff' * 64",
        "no-json": "struct.pack('<II', 4, 0) + b'what'",
        "huge": "struct.pack('<II', 1 << 30, 1 << 31)",
        "array": "struct.pack('<II', 2, 0) + b'[]'",
        "deep": "struct.pack('<II', 200_000, 0) + b'[' * 200_000",
        "passed": 'frame(b\'{"status": "passed", "points": 1}\')',
        "next-answer": 'frame(b\'{"id": 2, "value": {"tensor": 0}}\')',
        "unknown-kind": 'frame(b\'{"id": 1, "value": {"configuration": ["ToyModelConfig", {"dict": []}]}}\')',
        "no-tensor": 'frame(b\'{"id": 1, "value": {"tensor": 7}}\')',
        "error-code": 'frame(b\'{"id": 1, "raised": "unreadable", "text": 7}\')',
    }
    for name, content in forged.items():
        one(
            f"forges-{name}",
            25,
            attack(
                "def frame(text): return struct.pack('<II', len(text), 0) + text\n"
                + forge
                + f"for f in fds: os.write(f, {content})"
            ),
            0,
            first=helper,
        )

    # 26, 27
    one(
        "reduce",
        26,
        "class Evil:\n    def __reduce__(self):\n        import os\n"
        "        return os.system, ('touch /SECRET/owned',)\ndef project_features(features, W):\n    return Evil()",
        0,
        "Evil",
    )
    one(
        "pickle-bytes",
        26,
        "import pickle\ndef project_features(features, W):\n    return pickle.dumps(features)",
        0,
        "bytes",
    )
    one(
        "fake-module-name",
        26,
        "class ToyModelConfig: n_instances = 1\n"
        "ToyModelConfig.__module__ = 'part_utils.toy_model'\n"
        "def project_features(features, W):\n    return ToyModelConfig()",
        0,
    )
    one(
        "hard-coded",
        27,
        "def project_features(features, W):\n    return t.tensor([[[0.5, 1.0]], [[1.5, 2.0]]])",
        0,
    )
    one(
        "escape-codes",
        27,
        attack("raise ValueError('\\x1b]0;owned\\x07\\x1b[2J<script>alert(1)</script>\\u202e')"),
        0,
        "ValueError",
    )

    # 28: notebooks that were taken apart
    def edited(change: Any, start: dict[str, Any] | None = None) -> dict[str, Any]:
        book = copy.deepcopy(start or notebook())
        change(book)
        return book

    def without(prefix: str) -> Any:
        def change(book: dict[str, Any]) -> None:
            book["cells"] = [c for c in book["cells"] if not grade_id(c).startswith(prefix)]

        return change

    def exercise_1(book: dict[str, Any]) -> dict[str, Any]:
        return next(c for c in book["cells"] if grade_id(c) == "exercise_0_1")

    def duplicate(book: dict[str, Any]) -> None:
        book["cells"] += copy.deepcopy([c for c in book["cells"] if grade_id(c)])

    def duplicate_stub(book: dict[str, Any]) -> None:
        stub = copy.deepcopy(exercise_1(book))
        stub["source"] = "def project_features(features, W):\n    raise NotImplementedError"
        book["cells"].append(stub)

    def strip(book: dict[str, Any]) -> None:
        for c in book["cells"]:
            c["metadata"] = {}

    def retype(book: dict[str, Any]) -> None:
        one = exercise_1(book)
        one["cell_type"] = "markdown"
        one.pop("outputs")
        one.pop("execution_count", None)

    def edit_checks(book: dict[str, Any]) -> None:
        for c in book["cells"]:
            if grade_id(c).startswith("check_"):
                c["source"] = "1.0"
                c["metadata"]["nbgrader"]["points"] = 1000
            if grade_id(c) == "exercise_0_1":
                c["source"] = wrong

    def swap(book: dict[str, Any]) -> None:
        first = exercise_1(book)
        other = next(c for c in book["cells"] if grade_id(c) == "exercise_0_2")
        first["metadata"], other["metadata"] = other["metadata"], first["metadata"]

    add("checks-deleted", 28, edited(without("check_")), (1, 1, 1))
    add("exercise-deleted", 28, edited(without("exercise_0_1")), (0, 1, 1))
    add("all-duplicated", 28, edited(duplicate), (1, 1, 1))
    add("stub-below", 28, edited(duplicate_stub), (1, 1, 1))
    add("metadata-stripped", 28, edited(strip), (1, 1, 1))
    add("retyped", 28, edited(retype), (0, 1, 1), "Markdown")
    add("checks-edited", 28, edited(edit_checks), (0, 1, 1))
    add("names-swapped", 28, edited(swap), (1, 1, 1))
    add(
        "metadata-malformed",
        28,
        edited(lambda b: [c["metadata"].update(nbgrader=[1]) for c in b["cells"]]),
        (1, 1, 1),
    )

    # 29: files that are no notebooks
    plain = dumped(notebook())
    for name, content in {
        "truncated": plain[: len(plain) // 2],
        "empty": b"",
        "spaces": b"  \n",
        "bytes": bytes(range(256)) * 50,
        "nul": b"\0" * 1000,
        "array": b"[]",
        "object": b"{}",
        "number": b"7",
        "nested": b"[" * 200_000,
        "no-cells": b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        "source-is-a-number": dumped(edited(lambda b: b["cells"][0].update(source=7))),
        "cells-is-an-object": b'{"cells": {}, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        "future-format": b'{"cells": [], "metadata": {}, "nbformat": 99, "nbformat_minor": 0}',
    }.items():
        add(f"file-{name}", 29, content, (0, 0, 0))
    add("file-nul-inside", 29, plain.replace(b"def project", b"\\u0000def project"), (0, 1, 1))
    half = dumped(notebook(first="# HALF")).replace(b"HALF", b"\\ud83d")
    add("file-half-a-character", 29, half, (1, 1, 1))
    add("file-200-megabytes", 29, b"LARGE", (0, 0, 0), "MB")
    old = {"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"metadata": {}, "cells": [
        {"cell_type": "code", "language": "python", "input": source, "outputs": [], "metadata": {}, "collapsed": False}
        for source in RIGHT.values()
    ]}]}  # fmt: skip
    add("file-format-3", 29, old, (0, 0, 0), "version 3")

    # 30: judged by stated policy
    one(
        "warns",
        30,
        attack("import warnings, sys\nwarnings.warn('careful')\nprint('careful', file=sys.stderr)"),
        1,
    )
    one(
        "mutates",
        30,
        attack("out = t.einsum('bif,ihf->bih', features, W)\nfeatures.zero_()\nW.zero_()", "return out"),
        0,
        "in place",
    )
    one("float64", 30, attack("features, W = features.double(), W.double()"), 1)
    one("parameter", 30, attack("W = t.nn.Parameter(W)"), 1)
    one("nan", 30, attack("W = W * float('nan')"), 0, "NaN")
    for name, code in {
        "list": "return t.einsum('bif,ihf->bih', features, W).tolist()",
        "numpy": "return t.einsum('bif,ihf->bih', features, W).numpy()",
        "sparse": "return t.einsum('bif,ihf->bih', features, W).to_sparse()",
        "complex": "return t.einsum('bif,ihf->bih', features, W).to(t.complex64)",
        "meta": "return t.einsum('bif,ihf->bih', features, W).to('meta')",
        "quantized": "return t.quantize_per_tensor(t.zeros(7, 3, 2), 0.1, 0, t.qint8)",
        "huge-list": "return [0] * 10**6",
        "nested": "x = []\n    for _ in range(900): x = [x]\n    return x",
        "cycle": "x = []\n    x.append(x)\n    return x",
        "huge-integer": "return 10 ** 10_000",
        "huge-text": "return 'x' * 10**8",
        "large-tensor": "return t.zeros(1).expand(10**9)",
        "generator": "return (x for x in [1])",
    }.items():
        one(f"returns-{name}", 30, f"def project_features(features, W):\n    {code}", 0)
    # 37, 38, 40: the seed, files by other ways than writing, cells that are no exercise's
    one(
        "seed-in-frames",
        37,
        attack("""
        import sys
        frame = sys._getframe()
        while frame:
            for name, value in frame.f_locals.items():
                if name == 'seed' or (type(value) is dict and 'seed' in value): return features
            frame = frame.f_back
        raise LookupError('nothing found')
    """),
        0,
        "nothing found",
    )
    one(
        "seed-of-torch",
        37,
        attack("""
        drawn = t.Generator().manual_seed(t.initial_seed() * 1_000_003 + 1)
        if t.equal(features, t.rand(features.shape, generator=drawn)): return t.einsum("bif,ihf->bih", features, W)
        raise LookupError('other inputs')
    """),
        0,
        "other inputs",
    )
    gradebook = "'/SECRET/gradebook.db'"
    for name, code in {
        "chmod-mode": f"os.chmod({gradebook}, 0o777)",
        "chown": f"os.chown({gradebook}, 65534, 65534)",
        "utime": f"os.utime({gradebook}, (0, 0))",
        "truncate": f"os.truncate({gradebook}, 0)",
        "setxattr": f"os.setxattr({gradebook}, 'user.x', b'1')",
        "chmod-package": "os.chmod(t.__file__, 0)",
        "utime-package": "os.utime(t.__file__, (0, 0))",
        "truncate-package": "os.truncate(t.__file__, 0)",
        "open-and-truncate-package": "os.open(t.__file__, os.O_RDONLY | os.O_TRUNC)",
        "chmod-scratch": "os.chmod('.', 0)",
        "setxattr-scratch": "os.setxattr('.', 'user.x', b'1')",
        "lease": "import fcntl; fcntl.fcntl(os.open(t.__file__, os.O_RDONLY), 1024, 0)",
        "flock": "import fcntl; fcntl.flock(os.open(t.__file__, os.O_RDONLY), fcntl.LOCK_SH)",
        "lockf": "import fcntl; fcntl.lockf(os.open(t.__file__, os.O_RDONLY), fcntl.LOCK_SH)",
    }.items():
        one(f"file-by-{name}", 38, attack(f"import os\n{code}"), 0, "Error")
    for name, call in {
        "io_setup": "206, 1, 0", "modify_ldt": "154, 0, 0, 0", "seccomp": "317, 0, 0, 0",
        "prctl": "157, 38, 1, 0, 0, 0",
        "io_uring_setup": "425, 1, 0", "future": "600", "utimensat": "280, -100, 0, 0, 0", "personality": "135, 0",
    }.items():  # fmt: skip
        code = (
            "import ctypes, os\n"
            f"libc = ctypes.CDLL(None, use_errno=True)\nif libc.syscall({call}) < 0 and ctypes.get_errno() == 1:\n"
            "    raise PermissionError('not permitted')"
        )
        one(f"calls-{name}", 38, attack(code), 0, "not permitted")
    one("many-magics", 40, RIGHT["0.1"], 1, first="x = %who\n" * 600)
    found.append(Case("many-cells", 40, dumped(crowded(2_000)), (1, 1, 1)))
    return found
