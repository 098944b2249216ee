import numpy as np
import pytest
from mxnet import nd, sym
from mxnet import np as mx_np

from d2l_alexnet.runtime import old_modules

NAMES = """
    import numpy as np, scipy.stats
    from numpy import *
    names = "bool int float object PZERO NINF NaN Inf alltrue product in1d trapz msort mirr".split()
    print(names, [hasattr(np, name) for name in names], [name in globals() for name in names])
"""


def dedented(code):
    return "\n".join(line.strip() for line in code.splitlines())


def test_numpy_itself_is_as_without_the_package(python):
    without, after = (
        python(dedented(before + NAMES)) for before in ("", "import d2l_alexnet, mxnet.contrib")
    )
    assert (without.returncode, after.returncode) == (0, 0), after.stderr
    assert after.stdout == without.stdout


def test_names_that_mxnet_reads_while_it_works():
    X = mx_np.array([[1, 2, 3]])
    padded = mx_np.pad(X, ((0, 0), (2, 2)), "reflect", reflect_type="even")  # np.compat
    assert padded.tolist() == [[3, 2, 1, 2, 3, 2, 1]]
    assert mx_np.in1d(X[0], mx_np.array([2])).tolist() == [False, True, False]
    with pytest.raises(RuntimeError, match="numpy-financial"):
        mx_np.pv(0.1, 1, 1)


def test_removed_functions_give_what_numpy_1_gave(monkeypatch):
    for name in ("in1d", "msort"):
        monkeypatch.delitem(vars(np), name, raising=False)
    removed = old_modules.removed_from_numpy()
    assert removed["in1d"]([[1], [2]], [2, 3], invert=True).tolist() == [True, False]
    assert removed["msort"]([[2, 3], [1, 4]]).tolist() == [[1, 3], [2, 4]]
    assert "prod" not in removed


def test_numpys_numbers_in_the_settings_of_operators():
    two = np.int64(2)
    assert nd.zeros((two, 3)).shape == (2, 3)
    assert nd.transpose(nd.zeros((1, 2, 3)), axes=(two, np.int32(0), 1)).shape == (3, 1, 2)
    assert sym.zeros(shape=(two, 3)).infer_shape()[1] == [(2, 3)]
    assert nd.clip(nd.ones((1,)), np.float32(0), np.float64(0.5)).asscalar() == 0.5
    assert old_modules.operator_text((np.float32(0.1), "a")) == "(0.1, 'a')"


def test_workers_are_forked_whatever_the_start_method(python):
    done = python(
        dedented("""
        import multiprocessing
        multiprocessing.set_start_method("spawn")
        import d2l_alexnet
        from mxnet import gluon
        loader = gluon.data.DataLoader([1, 2], 2, num_workers=1, batchify_fn=list)
        print(next(iter(loader)), type(loader._worker_pool._pool[0]).__name__)
        print(multiprocessing.get_start_method())
        """)
    )
    assert (done.stdout, done.stderr) == ("[1, 2] ForkProcess\nspawn\n", "")
