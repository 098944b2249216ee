import pytest

from d2l_alexnet.runtime.cpu import instruction_sets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx avx2x\n", ["avx", "avx512f"]),
        ("Features\t: fp asimd bf16\n", ["asimd", "bf16"]),
        ("model name\t: unknown\n", []),
    ],
)
def test_instruction_sets_are_read(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert instruction_sets(tmp_path / "cpuinfo") == expected
    assert instruction_sets(tmp_path / "none") == []
