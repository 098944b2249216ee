"""examples/kubernetes.yaml: what its pods run. tests/distributed/test_slurm.py runs Slurm's."""

import json
import subprocess
from pathlib import Path

import pytest

from d2l_alexnet import train
from d2l_alexnet.distributed import rendezvous

yaml = pytest.importorskip("yaml")
MANIFEST = Path(__file__).parents[1] / "examples" / "kubernetes.yaml"
# Prints what it was started with.
PYTHON = """#!/bin/sh
exec python3 -c 'import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))' "$@"
"""


@pytest.fixture
def job():
    service, job = yaml.safe_load_all(MANIFEST.read_text())
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    return job


def start_pod(job, index, folder):
    """Run what the container of a pod runs; give its environment and the arguments of Python."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value", "127.0.0.1") for each in container["env"]}
    variables["RUN"] = str(folder / "run")
    command = [*container["command"], *container["args"]]
    path = f"{folder}:/usr/bin:/bin"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**variables, "PATH": path, "JOB_COMPLETION_INDEX": str(index)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("flag", ["--out", "--resume"])
def test_the_pods_of_kubernetes_have_every_role(job, tmp_path, flag):
    scripts = {".venv/bin/python": PYTHON, "getent": "#!/bin/sh\n"}
    for name, text in scripts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    if flag == "--resume":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "args.json").touch()
    assert job["spec"]["parallelism"] == job["spec"]["completions"]
    found = []
    for index in range(job["spec"]["completions"]):
        environment, (_, module, *arguments) = start_pod(job, index, tmp_path)
        address = environment[rendezvous.HOST]
        assert address == "{0}-0.{0}".format(job["metadata"]["name"])  # the first pod's name
        rendezvous.check({**environment, rendezvous.HOST: "127.0.0.1"})
        found.append(environment[rendezvous.ROLE] + environment.get(rendezvous.RANK, ""))
        if module == "d2l_alexnet.train":
            given = vars(train.parser().parse_args(arguments))
            assert given[flag[2:]] == str(tmp_path / "run")
            assert given["kvstore"] == "dist_sync"
        else:
            assert (module, arguments) == ("d2l_alexnet.distributed.server", [])
    assert found == ["scheduler", "server", "server", "worker0", "worker1"]
