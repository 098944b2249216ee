import os
import shutil

import pytest
from kill_and_resume import write_small_run
from small_runs import HOSTS, NETS, RUN


@pytest.fixture(scope="module")
def small_run(tmp_path_factory, fashion_mnist):
    """Write the code of a run with 96 training images and 70 test images."""
    code = write_small_run(tmp_path_factory.mktemp("small"))
    return code.replace(RUN, NETS + RUN)


@pytest.fixture
def mark(tmp_path):
    """What the processes of this test have in their environment, and no others."""
    return str(tmp_path)


@pytest.fixture
def namespaces():
    """Make three network namespaces with a link to a bridge in the first; give their names."""
    names = [f"d2l-{os.getpid()}-{letter}" for letter in "abc"]
    first, *others = names
    setup = [*(f"ip netns add {name}" for name in names), f"ip -n {first} link add net type bridge"]
    for name in others:
        setup.append(f"ip -n {first} link add to-{name[-1]} type veth peer name net netns {name}")
        setup.append(f"ip -n {first} link set to-{name[-1]} master net up")
    for name, host in zip(names, HOSTS):
        setup.append(f"ip -n {name} addr add {host}/24 dev net")
        setup += [f"ip -n {name} link set {link} up" for link in ("lo", "net")]
    try:
        if not shutil.which("ip") or any(os.system(f"{line} 2>/dev/null") for line in setup):
            pytest.skip("this machine does not let us make network namespaces")
        yield names
    finally:
        for name in names:
            os.system(f"ip netns del {name} 2>/dev/null")
