import faulthandler
import os
import signal
import subprocess
import sys

import pytest

from d2l_alexnet.runtime import bootstrap


def test_plain_mxnet_import_works_after_the_package(python):
    done = python("import d2l_alexnet, mxnet; print(mxnet.nd.ones((2,)).sum().asscalar())")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2.0\n", "")


def test_mxnet_imported_first_is_said_once(python):
    imported = "import sys, types; sys.modules['mxnet'] = types.ModuleType('mxnet')"
    done = python(f"{imported}; import d2l_alexnet, d2l_alexnet.recipes")
    assert done.returncode == 0
    assert done.stderr.count("mxnet was imported before d2l_alexnet") == 1


@pytest.mark.parametrize("module", ["train", "data", "distributed.launch"])
def test_without_mxnet_one_line_names_both_commands(module, tmp_path):
    hide = "import importlib.util as u; f = u.find_spec"
    (tmp_path / "sitecustomize.py").write_text(
        f"{hide}; u.find_spec = lambda name, *rest: None if name == 'mxnet' else f(name, *rest)"
    )
    done = subprocess.run(
        [sys.executable, "-m", f"d2l_alexnet.{module}"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "d2l_alexnet[cpu]" in done.stderr
    assert "d2l_alexnet[cu112]" in done.stderr


def test_missing_system_library_is_named_with_its_package(monkeypatch):
    def not_there(library):
        raise OSError(library)

    monkeypatch.setattr(bootstrap.ctypes, "CDLL", not_there)
    with pytest.raises(ImportError, match="needs libgomp.so.1: apt-get install libgomp1"):
        bootstrap.load_system_libraries()


@pytest.mark.parametrize(
    ("flags", "refused"), [("fpu sse4_2", True), ("fpu sse4_2 avx avx2", False), (None, False)]
)
def test_a_processor_without_avx_is_refused_if_training_kills(
    monkeypatch, tmp_path, flags, refused
):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags\t\t: {flags}\n" if flags else "Features\t: fp asimd\n")

    def kill():
        faulthandler.disable()  # pytest's, which prints a long report
        os.kill(os.getpid(), signal.SIGILL)

    monkeypatch.setattr(bootstrap, "_train_a_step", kill)
    if refused:
        with pytest.raises(ImportError, match=r"^this processor has no AVX, .*-cpu host\)$"):
            bootstrap.check_avx(cpuinfo)
    else:
        bootstrap.check_avx(cpuinfo)


def test_a_processor_without_avx_that_can_train_is_not_refused(tmp_path):
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu sse4_2\n")
    bootstrap.check_avx(tmp_path / "cpuinfo")
