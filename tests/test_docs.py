"""README and docs: links resolve, commands and names exist, the first screen has what it must."""

import ast
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from d2l_alexnet import cli, collect_env, shapes, train
from d2l_alexnet.errors import InputError
from d2l_alexnet.nets import alexnet

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "results/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
# CHANGELOG.md also has commands that do not exist any more.
COMMANDS = [page for page in PAGES if page != "CHANGELOG.md"]
PLACEHOLDERS = {"N": "1", "P": "0.5"}
each = pytest.mark.parametrize("page", PAGES)


def text(page):
    return (ROOT / page).read_text("utf-8")


def blocks(page):
    """Give the fenced blocks of a page, as (language, text)."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text(page), re.DOTALL | re.MULTILINE)


def code(page):
    """Give all lines of code of a page: of fenced blocks, and between single backticks."""
    without = re.sub(r"^```.*?^```$", "", text(page), flags=re.DOTALL | re.MULTILINE)
    lines = [line for _, block in blocks(page) for line in block.splitlines()]
    return [re.sub(r"^\$ ", "", line) for line in lines] + re.findall(r"`([^`\n]+)`", without)


def slugs(page):
    """Give the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each
def test_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in slugs(path.resolve().relative_to(ROOT).as_posix()), target


def package_commands():
    """Give every command of the package in the pages, as (module, arguments)."""
    for page in COMMANDS:
        for line in code(page):
            match = re.match(r"python -m d2l_alexnet(?:[. ](\w+(?:\.\w+)*))?(?: (.*))?$", line)
            if match:
                words = shlex.split((match[2] or "").split(" | ")[0], comments=True)
                yield match[1] or "", [PLACEHOLDERS.get(word, word) for word in words]


class Parsed(Exception):
    pass


@pytest.fixture
def only_parse(monkeypatch):
    """Let every command end after its command line was understood."""
    parse = cli.Parser.parse_args

    def parse_only(self, argv=None, namespace=None):
        parse(self, argv, namespace)
        raise Parsed

    monkeypatch.setattr(cli.Parser, "parse_args", parse_only)


def main_of(name):
    """Give the `main` of a command's module, or of its package's __main__."""
    module = importlib.import_module(f"d2l_alexnet.{name}")
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{module.__name__}.__main__")
    return module.main


def test_commands_parse(only_parse):
    found = [*package_commands()]
    assert len(found) > 30
    for name, words in found:
        if name:
            with pytest.raises(Parsed):
                main_of(name)(words)
        if "--" in words:  # behind it are the arguments of train
            with pytest.raises(Parsed):
                train.main(words[words.index("--") + 1 :])


def test_short_commands_run(capsys):
    for name, words in package_commands():
        if name == "shapes" and not any(word.startswith("gluoncv:") for word in words):
            try:
                shapes.main(words)
            except InputError as error:  # docs/claims.md shows an image that is too small
                assert words[-1] == "1,3,32,32"
                assert "the smallest square that fits" in str(error)
            else:
                assert "conv0" in capsys.readouterr().out
    collect_env.main([])
    assert "MXNet" in capsys.readouterr().out


def test_make_targets_and_scripts_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", text("Makefile"), re.MULTILINE))
    for page in COMMANDS:
        for line in code(page):
            for target in re.findall(r"^make ([a-z][a-z0-9-]*)", line):
                assert target in targets, f"{page}: {line}"
            for script in re.findall(r"^python (\S+\.py)", line):
                assert (ROOT / script).exists(), f"{page}: {line}"


@each
def test_names_of_the_package_exist(page):
    if page == "CHANGELOG.md":
        return
    for line in code(page):
        for name in re.findall(r"\bd2l_alexnet(?:\.\w+)+", line):
            assert resolve(name) is not None, name
        for path in re.findall(r"\bd2l_alexnet/[\w/]+(?:\.py|/)", line):
            assert (ROOT / path).exists(), path


def resolve(name):
    """Import the longest part of a dotted name that is a module; take the rest from it."""
    if name.endswith(".py") or re.match(r"d2l_alexnet\.(git|egg)", name):
        return name
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            found = getattr(found, attribute)
        return found
    return None


def test_examples_in_python_are_python_and_import_what_exists():
    examples = [(page, block) for page in PAGES for kind, block in blocks(page) if kind == "python"]
    assert len(examples) >= 4
    for _, block in examples:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("d2l_alexnet"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("log", ["lenet/evaluate.txt", "quick-batch16/images.txt"])
def test_what_is_quoted_from_a_log_is_in_the_log(log):
    lines = (ROOT / "results" / log).read_text("utf-8").splitlines()
    tested = log.endswith("evaluate.txt")
    start = "test accuracy" if tested else "$ python -m d2l_alexnet.evaluate RUN"
    (quoted,) = [block for _, block in blocks("docs/commands.md") if block.startswith(start)]
    quoted = [line for line in quoted.splitlines() if not line.startswith("$")]
    assert set(quoted) <= set(lines)
    assert len(quoted) == (13 if tested else 3)


def test_the_table_of_layers_is_what_the_command_prints():
    printed = shapes.as_markdown(shapes.trace(alexnet(), (1, 1, 224, 224)))
    assert printed in text("docs/commands.md")


def test_the_first_screen_has_the_essentials():
    lines = text("README.md").splitlines()
    assert len(lines) <= 130
    first = "\n".join(lines[:25])
    for essential in (
        "make train",
        "make test",
        "](results/lecture/curves.png)",
        "](notebooks/alexnet.ipynb)",
        "](notebooks/alexnet_cifar10.ipynb)",
        "](https://courses.d2l.ai/berkeley-stat-157/",  # the lectures
        "](https://www.youtube.com/watch?v=mlXRVuD_HEg)",
        "slides/2_28/alexnet.ipynb)",  # the notebooks whose numbers are called published
        "slides/2_28/lenet.ipynb)",
        "2-alexnet-cifar10.ipynb)",
        "3-cnn-cifar10.ipynb)",
        "on a GPU",
        "`make train` took ",
        "`epoch 1, loss ",
    ):
        assert essential in first
    rows = [line for line in lines[:25] if line.startswith("| ") and "---" not in line][1:]
    assert 3 <= len(rows) <= 5


def test_the_time_without_avx512_is_the_logs():
    log = "results/benchmarks/quick-avx2.txt"
    (seconds,) = re.findall(r"time ([\d.]+) sec", text(log))
    assert f"[{float(seconds) / 60:.1f} minutes]({log})" in text("README.md")


def test_runs_have_different_names_and_a_diverged_one_says_so():
    lines = text("docs/results.md").split("## All runs")[1].split("\n## ")[0].splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")][2:]
    names = [row[0] for row in rows]
    assert len(rows) > 5
    assert len(set(names)) == len(names)
    assert all("diverged" in result for _, result, *_ in rows if result.startswith("0.1000"))


def test_make_help_lists_what_readme_names():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    for target in set(re.findall(r"`make ([a-z-]+)", text("README.md"))):
        assert f"make {target} " in listed
