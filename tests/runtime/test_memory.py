import sys

import pytest

FAULTS = """
import resource
import numpy as np
from d2l_alexnet.runtime.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 * 2**20, np.uint8)  # is freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = [faults() for _ in range(3)]
keep_freed_memory()
print(min(usual), [faults() for _ in range(3)][-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_freed_memory_is_used_again_without_page_faults(python):
    usual, kept = map(int, python(FAULTS).stdout.split())
    assert usual > 20  # 32 with huge pages, 16,384 without
    assert kept < usual / 4
