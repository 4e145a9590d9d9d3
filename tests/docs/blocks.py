"""The fenced blocks of the documents, and how they are run: shell commands word for word, Python in one namespace per document."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AUDIO = ROOT / "tests" / "audio"
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^(?P<marks>(?:<!--[^>]*-->\n)?)(?P<ticks>```)(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^```$", re.S | re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    path: The document.
    line: Where it begins, from 1.
    kind: What stands behind the fence: sh, python, text, ...
    mark: The comment in the line above, without its brackets.
    text: What stands in it.
    """

    path: Path
    line: int
    kind: str
    mark: str
    text: str

    @property
    def reason(self):
        """Why it isn't run, or nothing."""
        return self.mark.removeprefix("not run:").strip() if self.mark.startswith("not run:") else ""

    @property
    def place(self):
        """Where it stands."""
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(path):
    """Return the fenced blocks of a document."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        mark = match["marks"].strip().removeprefix("<!--").removesuffix("-->").strip()
        line = text.count("\n", 0, match.start("ticks")) + 1
        found.append(Block(path, line, match["kind"], mark, match["text"]))
    return found


def shell_environment(folder):
    """Return the environment of the documents' shell commands: `rvq` is this package, run by this interpreter."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    for name, words in (("rvq", "-m rvqcodec"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RVQ_MODELS": str(folder / ".models"),
        "OMP_NUM_THREADS": "1",
    }


def run_shell(script, folder):
    """Run a script in a folder; a command that fails ends it, and the test with it."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=shell_environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done
