"""docs/claims.md has every statement, and its numbers are those of the logs."""

from pathlib import Path

from d2l_alexnet.history import read_history

ROOT = Path(__file__).parents[1]
VERDICTS = {"holds", "holds in part", "does not hold", "outside what can be run here", "open"}


def claims():
    lines = (ROOT / "docs/claims.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    return {number: cells for number, *cells in rows[2:]}


def test_every_statement_has_a_short_wording_and_a_verdict():
    names = [f"A{n}" for n in range(1, 10)] + [f"B{n}" for n in range(1, 17)]
    assert list(claims()) == names
    for said, verdict, evidence, _ in claims().values():
        assert len(said.split()) <= 15
        assert verdict in VERDICTS
        assert bool(evidence) == (verdict != "open")


def test_the_evidence_is_what_the_logs_say():
    history = read_history(ROOT / "results/lecture/history.jsonl")
    below = sum(row["running_train_accuracy"] < row["test_accuracy"] for row in history)
    expected = dict(A5=f"in {below} of {len(history)} epochs: ")
    evidence = {name: cells[2] for name, cells in claims().items() if cells[2]}
    assert evidence.keys() == expected.keys()
    assert all(evidence[name].startswith(text) for name, text in expected.items())
