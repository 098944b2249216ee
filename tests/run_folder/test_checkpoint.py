import io
import zipfile

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.history import read_history
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.run_folder import checkpoint
from d2l_alexnet.run_folder.results import write_results
from d2l_alexnet.state import State


def small_net(units=3):
    with mx.name.NameManager():  # the same names for every net, as checkpoints know them by name
        net = gluon.nn.HybridSequential()
        net.add(gluon.nn.Dense(units, in_units=4), gluon.nn.Dense(2, in_units=units))
    net.initialize()
    return net


def small_trainer(net, optimizer="adam", **settings):
    return gluon.Trainer(net.collect_params(), optimizer, dict(learning_rate=0.1, **settings))


def take_steps(net, trainer, number):
    for n in range(number):
        with autograd.record():
            l = (net(mx.nd.ones((5, 4)) * n) ** 2).sum()
        l.backward()
        trainer.step(5)


@pytest.fixture
def saved(tmp_path):
    """Make a folder with one checkpoint of a small net after three steps."""
    net = small_net()
    trainer = small_trainer(net)
    take_steps(net, trainer, 3)
    checkpoint.save(tmp_path, net, trainer, State(steps=3, sums=[0.1 + 0.2, 1.0]))
    return tmp_path


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [("sgd", {}), ("sgd", dict(momentum=0.9)), ("adam", {}), ("rmsprop", {})],
)
def test_training_goes_on_from_a_checkpoint_as_if_nothing_had_happened(
    tmp_path, optimizer, settings
):
    net = small_net()
    trainer = small_trainer(net, optimizer, **settings)
    take_steps(net, trainer, 3)
    checkpoint.save(tmp_path, net, trainer, State(steps=3))
    take_steps(net, trainer, 4)
    resumed = small_net()
    resumed_trainer = small_trainer(resumed, optimizer, **settings)
    assert checkpoint.load(tmp_path, resumed, resumed_trainer) == (State(steps=3), [])
    take_steps(resumed, resumed_trainer, 4)
    for name, p in net.collect_params().items():
        assert (p.data().asnumpy() == resumed.collect_params()[name].data().asnumpy()).all()
    assert trainer.optimizer.num_update == resumed_trainer.optimizer.num_update == 7


def test_the_newest_two_are_kept(tmp_path):
    net = small_net()
    trainer = small_trainer(net)
    for steps in (1, 2, 10, 11):
        checkpoint.save(tmp_path, net, trainer, State(steps=steps))
    names = [path.name for path in checkpoint.find(tmp_path)]
    assert names == ["checkpoint-000000011.npz", "checkpoint-000000010.npz"]


def test_state_comes_back_to_the_last_bit(saved):
    state, _ = checkpoint.read(checkpoint.find(saved)[0])
    assert state == State(steps=3, sums=[0.1 + 0.2, 1.0])


@pytest.fixture
def ruined():
    """Make a small net with a weight that is not a number."""
    net = small_net()
    net[0].weight.set_data(mx.nd.array([[np.nan] * 4] * 3))
    return net


NOT_FINITE = (
    "dense.*_weight contains NaN or infinity and was not saved; start again with a lower --lr$"
)


def test_weights_that_are_not_finite_are_never_saved(saved, ruined):
    before = [path.read_bytes() for path in saved.iterdir()]
    with pytest.raises(RunError, match=f"^step 9: {NOT_FINITE}"):
        checkpoint.save(saved, ruined, small_trainer(ruined), State(steps=9))
    assert [path.read_bytes() for path in saved.iterdir()] == before


def test_what_was_measured_is_written_even_if_the_weights_cannot_be(tmp_path, ruined):
    """A loss may be finite when the weights are not any more: ReLU drops a NaN."""
    row = dict(LECTURE.published[0], epoch=3)
    with pytest.raises(RunError, match=f"^epoch 3: {NOT_FINITE}"):
        write_results(tmp_path, ruined, LECTURE, [row], [2.3])
    assert read_history(tmp_path / "history.jsonl") == [row]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.png",
        "history.jsonl",
        "losses.png",
        "losses.txt",
    ]


def test_another_net_or_optimizer_is_refused(saved):
    for net, optimizer in ((small_net(units=5), "adam"), (small_net(), "sgd")):
        with pytest.raises(InputError, match="a checkpoint of another net or optimizer"):
            checkpoint.load(saved, net, small_trainer(net, optimizer))


def test_without_a_checkpoint_the_run_stands_at_its_beginning(tmp_path):
    net = small_net()
    assert checkpoint.load(tmp_path, net, small_trainer(net)) == (State(), [])


def test_a_damaged_checkpoint_is_passed_over_for_the_older_one(saved):
    net = small_net()
    trainer = small_trainer(net)
    checkpoint.save(saved, net, trainer, State(steps=5))
    newest, older = checkpoint.find(saved)
    newest.write_bytes(newest.read_bytes()[:-30])
    state, damaged = checkpoint.load(saved, net, trainer)
    assert state.steps == 3
    assert [line.startswith(f"{newest}: a damaged checkpoint (") for line in damaged] == [True]
    assert checkpoint.find(saved) == [older]
    assert newest.with_suffix(".damaged").exists()


def test_if_all_are_damaged_each_is_named(saved):
    net = small_net()
    trainer = small_trainer(net)
    checkpoint.save(saved, net, trainer, State(steps=5))
    newest, older = checkpoint.find(saved)
    for path in (newest, older):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=f"^{newest}: a damaged .*; {older}: a damaged "):
        checkpoint.load(saved, net, trainer)
    assert checkpoint.find(saved) == [newest, older]


def test_a_damaged_checkpoint_does_not_count_as_kept(saved):
    """It has more steps than the one that the run goes on from."""
    net = small_net()
    trainer = small_trainer(net)
    (saved / "checkpoint-000000900.npz").write_bytes(b"damaged")
    checkpoint.load(saved, net, trainer)
    for steps in (4, 5, 6):
        checkpoint.save(saved, net, trainer, State(steps=steps))
    assert [checkpoint.read(path)[0].steps for path in checkpoint.find(saved)] == [6, 5]


def test_a_users_own_file_is_neither_loaded_nor_removed(saved):
    best = saved / "checkpoint-best.npz"
    best.write_bytes(checkpoint.find(saved)[0].read_bytes())
    net = small_net()
    trainer = small_trainer(net)
    for steps in (7, 8, 9):
        take_steps(net, trainer, 1)
        checkpoint.save(saved, net, trainer, State(steps=steps))
    assert checkpoint.load(saved, net, trainer)[0].steps == 9
    assert best.exists()


def test_what_was_just_written_is_never_removed(saved):
    net = small_net()
    trainer = small_trainer(net)
    for steps in (900, 901, 4):  # more steps than now: of another run, perhaps
        checkpoint.save(saved, net, trainer, State(steps=steps))
    assert 4 in [checkpoint.read(path)[0].steps for path in checkpoint.find(saved)]


def test_a_run_whose_steps_were_all_skipped_can_be_resumed(tmp_path):
    """As in float16, when the first losses overflow: the optimizer has made no arrays yet."""
    net = small_net()
    checkpoint.save(tmp_path, net, small_trainer(net), State(steps=3))
    resumed = small_net()
    trainer = small_trainer(resumed)
    assert checkpoint.load(tmp_path, resumed, trainer)[0].steps == 3
    take_steps(resumed, trainer, 2)


def test_a_setting_that_was_changed_is_named(tmp_path):
    net = small_net()
    trainer = small_trainer(net)
    checkpoint.save(tmp_path, net, trainer, State(steps=3), dict(batch_size=8, seed=0))
    for settings in ({}, dict(batch_size=8, seed=0)):
        assert checkpoint.load(tmp_path, net, trainer, settings=settings)[0].steps == 3
    with pytest.raises(InputError) as caught:
        checkpoint.load(tmp_path, net, trainer, settings=dict(batch_size=8, seed=1))
    assert str(caught.value) == (
        f"{tmp_path}: seed is 1 in args.json, but the run was started with 0; restore it, or begin "
        "a new run"
    )


def test_a_file_that_reads_back_damaged_is_not_kept(saved, monkeypatch):
    before = sorted(path.name for path in saved.iterdir())
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: "weight.npy")
    with pytest.raises(RunError, match="the written file fails its checksum"):
        checkpoint.save(saved, small_net(), small_trainer(small_net()), State(steps=9))
    assert sorted(path.name for path in saved.iterdir()) == before


def test_every_single_flipped_bit_is_noticed_or_harmless(saved):
    path = checkpoint.find(saved)[0]
    good = path.read_bytes()
    state, arrays = checkpoint.read(path)
    refused = 0
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        try:
            other_state, others = checkpoint.read(path)
        except InputError as error:
            refused += "\n" not in str(error)
            continue
        assert other_state == state
        if list(others) != list(arrays):  # a name differs: the net will not know it
            assert set(others) != set(arrays)
            continue
        assert all(np.array_equal(others[name], arrays[name]) for name in arrays)
    assert refused > len(good) / 2


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99, -1])
def test_truncation_is_noticed(saved, keep):
    path = checkpoint.find(saved)[0]
    good = path.read_bytes()
    path.write_bytes(good[: keep if isinstance(keep, int) else int(keep * len(good))])
    with pytest.raises(InputError, match="a damaged checkpoint"):
        checkpoint.read(path)


def test_neither_pickles_nor_bombs_are_unpacked(tmp_path):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('a pickle was run')",)

    pickled, squeezed = tmp_path / "pickled.npz", tmp_path / "squeezed.npz"
    np.savez(pickled, weight=np.array([Bomb()], dtype=object))
    np.savez_compressed(squeezed, weight=np.zeros(10_000_000))
    for path, why in ((pickled, "allow_pickle=False"), (squeezed, "weight.npy is compressed")):
        with pytest.raises(InputError, match=why):
            checkpoint.read(path)


def test_an_array_that_promises_more_than_there_is_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, dict(descr="<f4", fortran_order=False, shape=(1 << 40,))
    )
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as file:
        file.writestr("weight.npy", buffer.getvalue() + bytes(16))
    with pytest.raises(InputError, match="a damaged checkpoint"):
        checkpoint.read(tmp_path / "huge.npz")


def test_a_run_on_one_device_goes_on_on_two(tmp_path):
    ctx = [mx.cpu(0), mx.cpu(1)]
    net = small_net()
    trainer = small_trainer(net)
    take_steps(net, trainer, 3)
    checkpoint.save(tmp_path, net, trainer, State(steps=3))
    resumed = small_net()
    resumed.collect_params().reset_ctx(ctx)
    resumed_trainer = gluon.Trainer(
        resumed.collect_params(), "adam", dict(learning_rate=0.1), "device", None, False
    )
    checkpoint.load(tmp_path, resumed, resumed_trainer)
    for device in range(2):
        states = checkpoint._optimizer_states(resumed_trainer, device)
        for name, state in checkpoint._optimizer_states(trainer, 0).items():
            assert states[name].context == ctx[device]
            assert (states[name].asnumpy() == state.asnumpy()).all()
    for name, p in net.collect_params().items():
        for copy in resumed.collect_params()[name].list_data():
            assert (copy.asnumpy() == p.data().asnumpy()).all()
