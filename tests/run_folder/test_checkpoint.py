import io
import json
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


def state_at(steps):
    """Make the state of a run with batches of five images, in its first epoch."""
    return State(steps, 1, steps, 5 * steps, [0.1 + 0.2, 1.0], 0.5, 0.25, [], [2.0] * steps)


@pytest.fixture
def saved(tmp_path):
    """Make a folder with one checkpoint of a small net after three steps."""
    net = small_net()
    trainer = small_trainer(net)
    take_steps(net, trainer, 3)
    checkpoint.save(tmp_path, net, trainer, state_at(3))
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
    checkpoint.save(tmp_path, net, trainer, state_at(3))
    take_steps(net, trainer, 4)
    resumed = small_net()
    resumed_trainer = small_trainer(resumed, optimizer, **settings)
    assert checkpoint.load(tmp_path, resumed, resumed_trainer) == (state_at(3), [])
    take_steps(resumed, resumed_trainer, 4)
    for name, p in net.collect_params().items():
        assert (p.data().asnumpy() == resumed.collect_params()[name].data().asnumpy()).all()
    assert trainer.optimizer.num_update == resumed_trainer.optimizer.num_update == 7


def test_the_newest_two_are_kept(tmp_path):
    net = small_net()
    trainer = small_trainer(net)
    for steps in (1, 2, 10, 11):
        checkpoint.save(tmp_path, net, trainer, state_at(steps))
    names = [path.name for path in checkpoint.find(tmp_path)]
    assert names == ["checkpoint-000000011.npz", "checkpoint-000000010.npz"]


def test_state_comes_back_to_the_last_bit(saved):
    state, _ = checkpoint.read(checkpoint.find(saved)[0])
    assert state == state_at(3)


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
        checkpoint.save(saved, ruined, small_trainer(ruined), state_at(9))
    assert [path.read_bytes() for path in saved.iterdir()] == before


def test_what_was_measured_is_written_even_if_the_weights_cannot_be(tmp_path, ruined):
    """A loss may be finite when the weights are not any more: ReLU drops a NaN."""
    row = dict(LECTURE.published[0], learning_rate=0.01, images_per_second=9.0)
    with pytest.raises(RunError, match=f"^epoch 1: {NOT_FINITE}"):
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
    checkpoint.save(saved, net, trainer, state_at(5))
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
    checkpoint.save(saved, net, trainer, state_at(5))
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
        checkpoint.save(saved, net, trainer, state_at(steps))
    assert [checkpoint.read(path)[0].steps for path in checkpoint.find(saved)] == [6, 5]


def test_a_users_own_file_is_neither_loaded_nor_removed(saved):
    best = saved / "checkpoint-best.npz"
    best.write_bytes(checkpoint.find(saved)[0].read_bytes())
    net = small_net()
    trainer = small_trainer(net)
    for steps in (7, 8, 9):
        take_steps(net, trainer, 1)
        checkpoint.save(saved, net, trainer, state_at(steps))
    assert checkpoint.load(saved, net, trainer)[0].steps == 9
    assert best.exists()


def test_what_was_just_written_is_never_removed(saved):
    net = small_net()
    trainer = small_trainer(net)
    for steps in (900, 901, 4):  # more steps than now: of another run, perhaps
        checkpoint.save(saved, net, trainer, state_at(steps))
    assert 4 in [checkpoint.read(path)[0].steps for path in checkpoint.find(saved)]


def test_a_run_whose_steps_were_all_skipped_can_be_resumed(tmp_path):
    """As in float16, when the first losses overflow: the optimizer has made no arrays yet."""
    net = small_net()
    checkpoint.save(tmp_path, net, small_trainer(net), state_at(3))
    resumed = small_net()
    trainer = small_trainer(resumed)
    state, _ = checkpoint.load(tmp_path, resumed, trainer, settings=dict(dtype="float16"))
    assert state.steps == 3
    take_steps(resumed, trainer, 2)


def test_in_float32_the_optimizers_arrays_may_not_be_missing(tmp_path):
    net = small_net()
    checkpoint.save(tmp_path, net, small_trainer(net), state_at(3))
    with pytest.raises(InputError, match="Adam0 should be of shape .*, found nothing.$"):
        checkpoint.load(tmp_path, net, small_trainer(net), settings=dict(dtype="float32"))


def test_a_setting_that_was_changed_is_named(tmp_path):
    net = small_net()
    trainer = small_trainer(net)
    take_steps(net, trainer, 3)
    checkpoint.save(tmp_path, net, trainer, state_at(3), dict(batch_size=8, seed=0))
    for settings in ({}, dict(batch_size=8, seed=0)):
        assert checkpoint.load(tmp_path, net, trainer, settings=settings)[0].steps == 3
    with pytest.raises(InputError) as caught:
        checkpoint.load(tmp_path, net, trainer, settings=dict(batch_size=8, seed=1))
    assert str(caught.value) == (
        f"{tmp_path}: seed is 1 in args.json, but the checkpoint was saved with 0; restore it, or "
        "begin a new run"
    )


def rewrite(path, change=lambda record: None, **arrays):
    """Change a checkpoint: what it holds as JSON, and some of its arrays. Checksums are right."""
    with np.load(path) as file:
        all_arrays = dict(file, **arrays)
    record = json.loads(bytes(all_arrays.pop("state")))
    record["arrays"] = sorted(all_arrays)
    text = change(record) or json.dumps(record)
    state = np.frombuffer(text.encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, state=state, **all_arrays)


def set_state(**changes):
    return lambda record: record["state"].update(changes)


def in_dtype(dtype, **changes):
    def change(record):
        record["settings"]["dtype"] = dtype
        record["state"].update(changes)

    return change


SCALER = dict(loss_scale=2.0**16, next_loss_scale=2.0**15, unskipped=7)
ROW = dict(
    epoch=1,
    loss=2.0,
    running_train_accuracy=0.5,
    test_accuracy=0.5,
    learning_rate=0.1,
    seconds=9.0,
    images_per_second=5.0,
)
SECOND_EPOCH = dict(epoch=2, batches=1, images=5)  # of two steps each, after three


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (set_state(steps="x"), "steps is 'x', not a whole number that is at least 0"),
        (set_state(steps=True), "steps is True, not a whole number"),
        (
            set_state(steps=4),
            "steps is 4, which contradicts epoch 1, batches 3, 0 rows of history and 3 losses",
        ),
        (set_state(steps=-3), "steps is -3, not"),
        (set_state(losses=None), "losses is None, not a list"),
        (set_state(losses=[2.0, 2.0, "2"]), "losses is .2.0, 2.0, '2'., not a list of numbers"),
        (set_state(losses=[2.0]), "0 rows of history and 1 losses"),
        (set_state(history=[{}], **SECOND_EPOCH), "row 1 of the history: epoch is missing"),
        (set_state(history=None), "history is None, not a list"),
        (set_state(history=[dict(ROW, loss="low")], **SECOND_EPOCH), "row 1 .* loss is 'low', not"),
        (set_state(history=[ROW]), ", 1 rows of history"),
        (set_state(epoch=2), "epoch 2, batches 3, 0 rows"),
        (set_state(epoch=0), "epoch is 0, not a whole number that is at least 1"),
        (set_state(batches=2.5), "batches is 2.5, not"),
        (set_state(images=2), "sums is .*, which contradicts 3 batches and 2 images"),
        (set_state(sums=0.0), "sums is .*, which contradicts 3 batches and 15 images"),
        (set_state(sums=[]), "sums is .., which contradicts 3 batches"),
        (
            set_state(sums=[1.0, 16.0]),
            "sums is .1.0, 16.0., which contradicts 3 batches and 15 images",
        ),
        (set_state(sums=[-1.0, 1.0]), "sums is .-1.0, 1.0., which"),
        (set_state(sums=[[1.0], 1.0]), "sums is .* not a list of numbers"),
        (set_state(seconds=-1.0), "seconds is -1.0, not"),
        (set_state(correct=1.0), "'correct' is unknown"),
        (set_state(skipped=-1), "skipped is -1, not a whole number that is at least 0"),
        (set_state(skipped=4), "skipped is 4, more than the 3 steps"),
        (set_state(skipped=True), "skipped is True, not"),
        (lambda record: record["state"].pop("skipped"), "skipped is missing"),
        (lambda record: record["state"].pop("loss_scaler"), "loss_scaler is missing"),
        (set_state(loss_scaler=dict(loss_scale=1.0)), "next_loss_scale is missing"),
        (set_state(loss_scaler=dict(SCALER, scale=1.0)), "'scale' is unknown"),
        (set_state(loss_scaler=dict(SCALER, loss_scale=0)), "loss_scale is 0, not a number that"),
        (set_state(loss_scaler=dict(SCALER, unskipped=2000)), "unskipped is 2000, not"),
        (set_state(loss_scaler=dict(SCALER, next_loss_scale="1")), "next_loss_scale is '1', not"),
        (in_dtype("float32", loss_scaler=SCALER), "loss_scaler is {'loss_scale.* in float32"),
        (in_dtype("bfloat16", skipped=1), "skipped is 1, which contradicts 3 steps in bfloat16"),
        (
            in_dtype("float16"),
            "loss_scaler is {} and skipped is 0, which contradicts 3 steps in float16",
        ),
        (lambda record: record["state"].pop("losses"), "losses is missing"),
        (lambda record: record.pop("state"), "state is missing"),
        (lambda record: record.update(state=[]), "state is .., not an object"),
        (lambda record: record.update(optimizer="sgd"), "'optimizer' is unknown"),
        (lambda record: record.update(settings=dict(seed=-1)), "seed is -1, not"),
        (lambda record: record.update(settings=dict(color=1)), "'color' is unknown"),
        (lambda record: record.update(arrays=[]), "arrays are missing or unexpected"),
        (lambda record: "[" * 100_000, "the JSON is nested too deeply"),
        (lambda record: json.dumps(record).replace("0.25", "NaN"), "NaN is not a finite number"),
        (lambda record: json.dumps(record).replace("0.25", "1e999"), "seconds_waiting is inf, not"),
        (lambda record: json.dumps(record)[:-1] + ', "arrays": []}', "'arrays' occurs twice"),
        (lambda record: "null", "None is not an object"),
    ],
)
def test_a_state_that_cannot_be_is_one_line(saved, change, why):
    (path,) = checkpoint.find(saved)

    def changed(record):
        text = change(record)
        return text if isinstance(text, str) else None

    rewrite(path, changed)
    with pytest.raises(InputError, match=f"^{path}: a damaged checkpoint .*{why}") as caught:
        checkpoint.load(saved, small_net(), small_trainer(small_net()))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_cannot_be_read_is_not_damaged(saved, monkeypatch):
    net = small_net()
    checkpoint.save(saved, net, small_trainer(net), state_at(5))
    before = sorted(path.name for path in saved.iterdir())

    class Forbidden(zipfile.ZipFile):
        def __init__(self, path):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zipfile, "ZipFile", Forbidden)
    newest, _ = checkpoint.find(saved)
    with pytest.raises(RunError, match=f"^{newest}: cannot read it .Permission denied.$"):
        checkpoint.load(saved, net, small_trainer(net))
    assert sorted(path.name for path in saved.iterdir()) == before


def test_if_all_are_damaged_the_line_says_what_to_do(saved):
    (path,) = checkpoint.find(saved)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=f"^{path}: a damaged .*; no other one is left, begin a n"):
        checkpoint.load(saved, small_net(), small_trainer(small_net()))


def test_a_second_epoch_can_be(saved):
    """The test above changes only what is wrong."""
    (path,) = checkpoint.find(saved)
    rewrite(path, set_state(history=[ROW], **SECOND_EPOCH))
    assert checkpoint.read(path)[0].steps_per_epoch == 2


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("dense0_weight.npy", "ValueError.'two arrays have the same name'."),
        ("notes.txt", "ValueError.\"'notes.txt' is not an array\"."),
    ],
)
def test_a_member_that_does_not_belong_there_is_damage(saved, name, why):
    (path,) = checkpoint.find(saved)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, file.read("dense0_weight.npy"))
    with pytest.raises(InputError, match=f"^{path}: a damaged checkpoint .{why}.$"):
        checkpoint.read(path)


def test_a_loss_scaler_can_be(saved):
    (path,) = checkpoint.find(saved)
    rewrite(path, in_dtype("float16", loss_scaler=SCALER, skipped=1))
    assert checkpoint.read(path)[0].loss_scaler == SCALER


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", ">f4", "complex64"])
def test_weights_of_another_type_are_refused(saved, dtype):
    (path,) = checkpoint.find(saved)
    rewrite(path, **{"dense0_weight": np.ones((3, 4), dtype)})
    with pytest.raises(InputError, match="another net or optimizer .dense0_weight should be of t"):
        checkpoint.load(saved, small_net(), small_trainer(small_net()))


def test_an_array_that_the_net_does_not_have_is_refused(saved):
    (path,) = checkpoint.find(saved)
    rewrite(path, other=np.ones(3, np.float32))
    net = small_net()
    with pytest.raises(InputError, match="another net or optimizer .found 'other', which is unk"):
        checkpoint.load(saved, net, small_trainer(net))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("dense0_weight", np.nan, "dense0_weight contains NaN or infinity"),
        ("dense0_weight", np.inf, "dense0_weight contains NaN or infinity"),
        ("batchnorm0_running_var", -1, "batchnorm0_running_var contains negative variances"),
    ],
)
def test_values_that_cannot_be_are_damage(saved, name, value, why):
    (path,) = checkpoint.find(saved)
    rewrite(path, **{name: np.full((3, 4), value, np.float32)})
    with pytest.raises(InputError, match=f"^{path}: a damaged checkpoint .{why}.$"):
        checkpoint.read(path)


def as_in_0_1_0(record):
    del record["settings"], record["state"]["skipped"], record["state"]["loss_scaler"]


def test_a_checkpoint_of_version_0_1_0_has_no_settings_and_can_be_loaded(saved):
    (path,) = checkpoint.find(saved)
    rewrite(path, as_in_0_1_0)
    net = small_net()
    settings = dict(seed=0, explain_gap=False, dtype="float32")
    assert checkpoint.load(saved, net, small_trainer(net), settings=settings)[0] == state_at(3)
    with pytest.raises(InputError, match="explain_gap is True in args.json, but the checkpoint"):
        checkpoint.load(saved, net, small_trainer(net), settings=dict(explain_gap=True))


def test_a_checkpoint_of_version_0_1_0_with_three_sums_has_measured_the_gap(saved):
    def measured(record):
        as_in_0_1_0(record)
        record["state"]["sums"].append(1.0)

    (path,) = checkpoint.find(saved)
    rewrite(path, measured)
    net = small_net()
    settings = dict(explain_gap=True)
    state, damaged = checkpoint.load(saved, net, small_trainer(net), settings=settings)
    assert (len(state.sums), damaged) == (3, [])


def test_a_plateau_needs_validation_accuracies(saved):
    (path,) = checkpoint.find(saved)
    rewrite(path, set_state(history=[ROW], **SECOND_EPOCH))
    net = small_net()
    with pytest.raises(InputError, match=f"^{path}: its history has no valid_accuracy, which"):
        checkpoint.load(saved, net, small_trainer(net), settings=dict(plateau=dict(factor=0.1)))


def test_a_file_that_reads_back_damaged_is_not_kept(saved, monkeypatch):
    before = sorted(path.name for path in saved.iterdir())
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: "weight.npy")
    with pytest.raises(RunError, match="the written file fails its checksum"):
        checkpoint.save(saved, small_net(), small_trainer(small_net()), state_at(9))
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
    checkpoint.save(tmp_path, net, trainer, state_at(3))
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
