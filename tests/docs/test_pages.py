"""The pages of docs/: their commands and snippets run, their links lead somewhere, and the site builds."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest
from blocks import PAGES, ROOT, blocks, run_shell

import rvqcodec

DOCUMENTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(?P<text>.+)$", re.M)
SNIPPET = re.compile(r'^--8<-- "(?P<path>[^"]+)"$', re.M)
COMMAND = re.compile(
    r"\brvq (?P<names>[a-z]+(?: (?:list|show|import|remove|verify|corpus|run|export|entropy)\b)?)(?P<rest>[^|#\n]*)"
)
NAMED = re.compile(r"`(?P<path>(?:rvqcodec|tests|benchmarks|docs)/[\w./-]+|[A-Z]+\.md|\.ci/run)`")
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]+")
MOST_NOT_RUN = 14


def kept(path):
    """Return the blocks of a document that are commands or Python."""
    return [block for block in blocks(path) if block.kind in ("sh", "python")]


def help_of(names):
    """Return the help of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "rvqcodec", *names.split(), "--help"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if kept(page)], ids=lambda page: page.stem)
def test_blocks_run_in_their_order(page, desk, monkeypatch):
    """Shell blocks one by one, Python blocks in one namespace; all in one folder."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("RVQ_MODELS", str(desk / ".models"))
    namespace = {"__name__": "docs"}
    for block in kept(page):
        if block.reason:
            continue
        if block.kind == "sh":
            run_shell(block.text, desk)
        else:
            exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)


def test_what_is_not_run_says_why_and_names_options_that_exist():
    skipped = [block for page in PAGES for block in kept(page) if block.mark.startswith("not run")]
    assert all(block.reason for block in skipped)
    assert len(skipped) <= MOST_NOT_RUN
    asked = {}
    for block in skipped:
        for found in COMMAND.finditer(block.text):
            asked.setdefault(found["names"], set()).update(OPTION.findall(found["rest"]))
    for names, options in asked.items():
        text = help_of(names)
        assert not [option for option in options if option not in text], names


def test_marks_are_known():
    for path in DOCUMENTS:
        for block in blocks(path):
            assert block.kind in ("sh", "python", "text", "toml"), block.place
            assert re.match(r"(|run|test|examples|not run: .+)$", block.mark), block.place


def expanded(path):
    """Return a document's text with what it includes."""
    return SNIPPET.sub(
        lambda found: (ROOT / found["path"]).read_text(encoding="utf-8"), path.read_text(encoding="utf-8")
    )


def anchors(path):
    """Return the anchors of a document's headings."""
    text = re.sub(r"^```.*?^```$", "", expanded(path), flags=re.S | re.M)
    return {
        re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", found["text"].lower()).strip())
        for found in HEADING.finditer(text)
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", expanded(path), flags=re.S | re.M)
    for found in LINK.finditer(text):
        target = found["target"]
        if target.startswith(("https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        assert file.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path):
    text = path.read_text(encoding="utf-8")
    absent = [name for name in NAMED.findall(text) if not (ROOT / name).exists() and name != "SPEC.md"]
    assert not absent


def test_citation_names_this_version():
    assert f"\nversion: {rvqcodec.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_workflow_runs_what_the_readme_says():
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert "run: .ci/run" in text and "run: make docs" in text
    assert {"run", "test"} <= {block.mark for block in blocks(ROOT / "README.md")}


def test_site_builds_and_loads_nothing_from_outside(tmp_path):
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: pip install 'rvqcodec[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").glob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe|source)[^>]+src=\"?(https?:)?//", text), page.name
        assert not re.search(r"<link[^>]+rel=\"?(stylesheet|preconnect)[^>]+href=\"?(https?:)?//", text), page.name
