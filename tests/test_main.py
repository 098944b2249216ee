"""``python -m d2l_alexnet`` and ``d2l-alexnet``, as processes."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from d2l_alexnet.__main__ import COMMANDS
from d2l_alexnet.recipes import RECIPES

pytestmark = pytest.mark.slow

MODULE = [sys.executable, "-m", "d2l_alexnet"]
SCRIPT = [str(Path(sys.executable).with_name("d2l-alexnet"))]
WITHOUT_MXNET = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "mxnet" else find_spec(name, *rest)
"""
both = pytest.mark.parametrize("command", [MODULE, SCRIPT], ids=["module", "script"])


def execute(command, *arguments, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment)


@pytest.fixture
def no_mxnet(tmp_path):
    """Give the variable with which a new Python does not find MXNet, or fails to import it."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_MXNET)
    (tmp_path / "mxnet.py").write_text("raise AssertionError")
    return dict(PYTHONPATH=str(tmp_path))


@both
def test_the_commands_are_listed_with_a_line_each(command):
    listed = [execute(command, *arguments) for arguments in ([], ["--help"])]
    assert [done.returncode for done in listed] == [0, 0]
    assert listed[0].stdout == listed[1].stdout
    lines = listed[0].stdout.splitlines()
    for name, text in COMMANDS.items():
        assert [line.split(maxsplit=1) for line in lines if text in line] == [[name, text]]


def test_every_command_is_a_module_of_the_package():
    for name in COMMANDS:
        spec = find_spec(f"d2l_alexnet.{name}")
        if spec.submodule_search_locations:
            spec = find_spec(f"d2l_alexnet.{name}.__main__")
        assert "cli.run(main)" in Path(spec.origin).read_text()


def test_the_list_does_not_import_mxnet():
    code = "import sys, d2l_alexnet.__main__ as m; m.main(); sys.exit('mxnet' in sys.modules)"
    assert execute([sys.executable, "-c", code]).returncode == 0


def test_a_command_gets_its_arguments_and_gives_its_output_and_status(tmp_path):
    module, script, direct = (
        execute([*command, str(tmp_path)])
        for command in (
            [*MODULE, "evaluate"],
            [*SCRIPT, "evaluate"],
            [*MODULE[:2], "d2l_alexnet.evaluate"],
        )
    )
    for done in (module, script, direct):
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == direct.stderr
    assert direct.stderr.startswith(f"d2l_alexnet: {tmp_path}: there is no run")


@pytest.mark.parametrize(
    ("arguments", "usage", "option"),
    [
        (["train"], "usage: python -m d2l_alexnet.train ", ",".join(RECIPES)),
        (["data"], "usage: python -m d2l_alexnet.data ", "fashion-mnist"),
        (["launch"], "usage: python -m d2l_alexnet.distributed.launch ", "--workers"),
        (["distributed.launch"], "usage: python -m d2l_alexnet.distributed.launch ", "--workers"),
    ],
)
def test_help_of_a_command(arguments, usage, option):
    done = execute(MODULE, *arguments, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(usage)
    assert option in done.stdout


@both
def test_an_unknown_command_is_one_line_and_status_2(command):
    done = execute(command, "trian", "--recipe", "quick")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"d2l_alexnet: trian: not a command; choose {', '.join(COMMANDS)}\n"


@both
@pytest.mark.parametrize("arguments", [[], ["train"]])
def test_without_mxnet_one_line_says_how_to_install_it(command, arguments, no_mxnet):
    done = execute(command, *arguments, **no_mxnet)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "pip install 'd2l_alexnet[cpu]'" in done.stderr
