"""Processes that are started with wrong settings, or without the others."""

import os
import re
import socket

import pytest

from d2l_alexnet.distributed import rendezvous
from d2l_alexnet.errors import InputError

RESERVED = socket.socket()  # bound as long as the tests run, and nobody listens there
RESERVED.bind(("127.0.0.1", 0))
PORT = str(RESERVED.getsockname()[1])
ENVIRONMENT = {
    rendezvous.ROLE: "worker",
    rendezvous.HOST: "127.0.0.1",
    rendezvous.PORT: PORT,
    rendezvous.WORKERS: "2",
    rendezvous.SERVERS: "1",
}
ONE_WORKER = """
from d2l_alexnet.distributed import process_group
from d2l_alexnet.options import DistributedOptions
process_group.SECONDS_TO_START = 1
with process_group.join(DistributedOptions("dist_sync", patience=1)):
    pass
"""


def test_a_worker_without_the_others_does_not_wait_forever(python):
    done = python(ONE_WORKER, **ENVIRONMENT)
    assert done.returncode == 1
    assert done.stderr == (
        "d2l_alexnet: timed out after 1 s (--patience): some processes did not connect to "
        f"127.0.0.1:{PORT}; check the hosts and the network\n"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(DMLC_ROLE="boss"), "DMLC_ROLE: found 'boss', should be scheduler, server, worker"),
        (dict(DMLC_PS_ROOT_PORT="http"), "DMLC_PS_ROOT_PORT: found 'http', should be a whole"),
        (dict(DMLC_NUM_WORKER="0"), "DMLC_NUM_WORKER: found '0', should be a whole number of"),
        (dict(DMLC_NUM_SERVER=None), "DMLC_NUM_SERVER: not set, should be a whole number of"),
        (dict(DMLC_RANK="2"), "DMLC_RANK: found '2', should be a whole number from 0 to 1"),
        (dict(DMLC_PS_ROOT_URI="no.such."), "DMLC_PS_ROOT_URI: found 'no.such.', should be a host"),
        (dict(DMLC_PS_ROOT_URI=None), "DMLC_PS_ROOT_URI: not set, should be a host"),
        (dict(DMLC_NODE_HOST="240.0.0.1"), "DMLC_NODE_HOST 240.0.0.1: cannot listen there"),
        (dict(DMLC_NODE_HOST="no.such."), "DMLC_NODE_HOST: found 'no.such.', should be a host"),
        (dict(DMLC_INTERFACE="none0"), "DMLC_INTERFACE: found 'none0', should be a network"),
        pytest.param(
            dict(DMLC_ROLE="scheduler", DMLC_PS_ROOT_URI="240.0.0.1"),
            f"DMLC_PS_ROOT_URI 240.0.0.1, DMLC_PS_ROOT_PORT {PORT}: cannot listen there",
            id="scheduler",  # pytest-xdist wants the same names in all its processes
        ),
    ],
)
def test_bad_settings_are_named(changes, message):
    environment = {k: v for k, v in {**ENVIRONMENT, **changes}.items() if v is not None}
    rendezvous.check(ENVIRONMENT)
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        rendezvous.check(environment)


def test_the_only_worker_has_rank_0():
    environment = {**ENVIRONMENT, rendezvous.WORKERS: "1"}
    rendezvous.check({**environment, rendezvous.RANK: "0"})
    with pytest.raises(InputError, match="^DMLC_RANK: found '1', should be a .* from 0 to 0$"):
        rendezvous.check({**environment, rendezvous.RANK: "1"})


def test_host_names_are_resolved_because_ps_lite_listens_only_at_addresses(monkeypatch):
    names = {rendezvous.HOST: "localhost", rendezvous.NODE: "localhost"}
    monkeypatch.setattr(os, "environ", {**ENVIRONMENT, **names})
    rendezvous.prepare("worker")
    assert [os.environ[name] for name in names] == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize(
    ("command", "changes", "message"),
    [
        (
            ["distributed.server"],
            dict(DMLC_ROLE="server", DMLC_PS_ROOT_PORT="0"),
            "DMLC_PS_ROOT_PORT: found '0', should be a whole number from 1 to 65535",
        ),
        (["distributed.server"], {}, "DMLC_ROLE: found 'worker', should be scheduler, server"),
        (
            ["train", "--kvstore", "dist_sync"],
            dict(DMLC_ROLE="server"),
            "DMLC_ROLE: found 'server', should be worker",
        ),
    ],
)
def test_bad_settings_end_a_process_before_ps_lite_sees_them(run, command, changes, message):
    done = run(*command, env={**os.environ, **ENVIRONMENT, **changes})
    assert (done.returncode, done.stderr) == (2, f"d2l_alexnet: {message}\n")


@pytest.mark.parametrize("role", ["scheduler", "server", "worker", "boss"])
def test_other_commands_take_no_part_in_a_distributed_run(python, role):
    """MXNet alone would be the server as soon as it is imported, until the run is over."""
    code = "from d2l_alexnet import shapes; shapes.main(['--format', 'lecture'])"
    done = python(code, **{**ENVIRONMENT, rendezvous.ROLE: role})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("conv0 output shape:")


def test_a_run_of_one_process_does_not_become_a_server(python, tmp_path):
    code = (
        "import dataclasses\n"
        "from d2l_alexnet import train\n"
        "from d2l_alexnet.data import DATA_SETS\n"
        "data = DATA_SETS['fashion-mnist']\n"
        "small = lambda _: tuple((x[:16], y[:16]) for x, y in data.read(None))\n"
        "DATA_SETS['fashion-mnist'] = dataclasses.replace(data, read=small)\n"
        "flags = '--recipe quick --train-size 16 --batch-size 8 --resize 67 --num-workers 0'\n"
        f"train.main([*flags.split(), '--ctx', 'cpu', '--out', {str(tmp_path / 'run')!r}])"
    )
    done = python(code, **{**ENVIRONMENT, rendezvous.ROLE: "server"})
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "net.params").exists()


def test_a_worker_without_a_launcher_is_told_of_it(run):
    done = run("train", "--kvstore", "dist_sync")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert (
        "--kvstore dist_sync: DMLC_ROLE is not set; python -m d2l_alexnet.distributed.launch"
        in done.stderr
    )
