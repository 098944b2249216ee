import multiprocessing
import os
import signal
import sys
from multiprocessing.pool import Pool

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon.data.vision import transforms

from d2l_alexnet.data import loader
from d2l_alexnet.data.load import load_data_cifar10, load_data_fashion_mnist, load_test_data
from d2l_alexnet.data.samplers import ShuffledSampler
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.runtime.cores import usable_cores

LOADERS = """
from d2l_alexnet.data.load import load_data_fashion_mnist
train_iter, test_iter = load_data_fashion_mnist(32, resize=67, num_workers=2)
next(iter(train_iter))
print("batch", flush=True)
while True:  # until a signal ends it
    for X, y in train_iter:
        pass
"""


def batches(data_iter):
    return [(X.asnumpy(), y.asnumpy()) for X, y in data_iter]


def same(some, others):
    return all((X == Z).all() and (y == z).all() for (X, y), (Z, z) in zip(some, others))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_have_the_lectures_shapes_types_and_range(small_data, num_workers):
    train_iter, test_iter = load_data_fashion_mnist(128, num_workers=num_workers)
    with train_iter, test_iter:
        X, y = next(iter(train_iter))
        assert (X.shape, X.dtype) == ((128, 1, 224, 224), np.float32)
        assert (y.shape, y.dtype) == ((128,), np.int32)
        assert (X.min().asscalar(), X.max().asscalar()) == (0, 1)
        assert [len(y) for _, y in train_iter] == [128, 128, 44]
        assert [len(y) for _, y in test_iter] == [70]


def test_a_batch_transformed_whole_is_bit_for_bit_the_lectures(small_data):
    images, labels = small_data[1]
    lecture = transforms.Compose([transforms.Resize(224), transforms.ToTensor()])
    expected = mx.nd.stack(*(lecture(mx.nd.array(image, dtype=np.uint8)) for image in images))
    for num_workers in (0, 2):
        train_iter, test_iter = load_data_fashion_mnist(128, num_workers=num_workers)
        with train_iter, test_iter:
            ((X, y),) = test_iter
        assert (X.asnumpy() == expected.asnumpy()).all()
        assert (y.asnumpy() == labels).all()


def test_test_images_keep_their_order_and_training_images_their_labels(small_data):
    (train_images, train_labels), (_, test_labels) = small_data
    train_iter, test_iter = load_data_fashion_mnist(100, resize=28, num_workers=0)
    assert (np.concatenate([y for _, y in batches(test_iter)]) == test_labels).all()
    label_of = {image.tobytes(): label for image, label in zip(train_images, train_labels)}
    assert len(label_of) == 300
    seen = [(X, y) for X, ys in batches(train_iter) for X, y in zip(X, ys)]
    assert len({X.tobytes() for X, _ in seen}) == 300
    for X, y in seen:
        assert label_of[np.rint(X * 255).astype(np.uint8).tobytes()] == y


def test_the_same_seed_gives_the_same_batches_whatever_the_workers(small_data):
    epochs = []
    for num_workers in (0, 1, 2):
        train_iter, test_iter = load_data_fashion_mnist(
            64, resize=28, num_workers=num_workers, seed=5
        )
        with train_iter, test_iter:
            epochs.append((batches(train_iter), batches(train_iter)))
    (first, second), *others = epochs
    assert all(same(first, one) and same(second, two) for one, two in others)
    assert not same(first, second)


def test_another_seed_gives_another_order(small_data):
    orders = [list(ShuffledSampler(300, seed)) for seed in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(300))
    assert orders[0] != orders[1]


def test_train_size_takes_the_first_images(small_data):
    train_iter, _ = load_data_fashion_mnist(10, resize=28, train_size=25, num_workers=0)
    labels = np.concatenate([y for _, y in batches(train_iter)])
    assert sorted(labels) == sorted(small_data[0][1][:25])


def test_no_more_workers_than_cores_and_none_on_windows(small_data, monkeypatch):
    monkeypatch.setattr(loader, "usable_cores", lambda: 2)
    for platform, expected in (("linux", 2), ("win32", 0)):
        monkeypatch.setattr(sys, "platform", platform)
        train_iter, test_iter = load_data_fashion_mnist(100, resize=28, num_workers=4)
        with train_iter, test_iter:
            assert train_iter._num_workers == test_iter._num_workers == expected


def test_closing_ends_the_workers(small_data):
    train_iter, test_iter = load_data_fashion_mnist(32, resize=28, num_workers=2)
    workers = train_iter.workers + test_iter.workers
    with train_iter, test_iter:
        next(iter(train_iter))
        assert workers
        assert all(worker.is_alive() for worker in workers)
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_process(command, fashion_mnist, sent):
    process = command("-c", LOADERS)
    assert process.stdout.readline() == "batch\n"
    assert len(process.others()) == min(2, usable_cores()) * 2
    process.send_signal(sent)
    process.communicate(timeout=300)  # its output ends when no worker has it open any more


def test_a_worker_that_notices_nothing_does_not_outlive_the_process(command, fashion_mnist):
    """A worker that waits for a lock notices as little as a stopped one."""
    process = command("-c", LOADERS)
    assert process.stdout.readline() == "batch\n"
    for worker in process.others():
        os.kill(worker, signal.SIGSTOP)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)


def test_a_dead_worker_is_named_and_none_takes_its_place(small_data):
    """The pool's own replacement forks in a thread: MXNet may then never compute again."""
    train_iter, test_iter = load_data_fashion_mnist(64, resize=28, num_workers=2)
    with train_iter, test_iter:
        train_iter.workers[0].kill()
        train_iter.workers[0].join()
        assert not Pool._join_exited_workers(train_iter._worker_pool._pool)  # nor does it see one
        living = set(train_iter.workers[1:] + test_iter.workers)
        assert set(multiprocessing.active_children()) == living
        with pytest.raises(RunError, match="^a loader worker was killed by SIGKILL: "):
            next(iter(train_iter))


def test_workers_yield_to_the_threads_that_compute(small_data):
    train_iter, test_iter = load_data_fashion_mnist(64, resize=28, num_workers=2)
    with train_iter, test_iter:
        for worker in train_iter.workers + test_iter.workers:
            assert os.getpriority(os.PRIO_PROCESS, worker.pid) > os.getpriority(os.PRIO_PROCESS, 0)


def test_batches_are_delivered_where_the_net_is(small_data):
    for ctx in (mx.cpu(0), mx.cpu(1)):
        train_iter, test_iter = load_data_fashion_mnist(64, resize=28, num_workers=1, ctx=ctx)
        with train_iter, test_iter:
            X, y = next(iter(train_iter))
            assert (X.context, y.context) == (ctx, ctx)


def test_the_first_images_come_in_order_from_the_same_workers(small_data):
    (_, labels), _ = small_data
    for num_workers in (0, 2):
        train_iter, test_iter = load_data_fashion_mnist(64, resize=28, num_workers=num_workers)
        with train_iter, test_iter:
            before = batches(train_iter)
            some = train_iter.first(100, batch_size=30)
            assert some.workers == train_iter.workers
            for _ in range(2):
                ys = [y for _, y in batches(some)]
                assert [len(y) for y in ys] == [30, 30, 30, 10]
                assert (np.concatenate(ys) == labels[:100]).all()
            assert train_iter.first(1000, batch_size=30).images == 300
            train_iter.from_batch(1, 0)
            assert same(batches(train_iter), before)


@pytest.mark.parametrize("load", [load_data_fashion_mnist, load_data_cifar10])
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (dict(batch_size=0), "^batch_size is 0, not a whole number that is at least 1"),
        (dict(batch_size=-1), "^batch_size is -1, not"),
        (dict(resize=0), "^resize is 0, not"),
        (dict(train_size=0), "^train_size is 0, not"),
        (dict(train_size=-1), "^train_size is -1, not"),
        (dict(num_workers=-1), "^num_workers is -1, not"),
        (dict(seed=-1), "^seed is -1, not"),
    ],
)
def test_values_that_the_commands_refuse_are_refused(load, settings, why):
    with pytest.raises(InputError, match=why):
        load(**dict(dict(batch_size=32), **settings))


def test_a_crop_of_nothing_is_refused():
    with pytest.raises(InputError, match="^crop is 0, not a whole number that is at least 1$"):
        load_data_cifar10(32, crop=0)


def test_the_loader_of_the_test_images_refuses_them_too():
    with pytest.raises(InputError, match="^num_workers is -1, not a whole number that is at lea"):
        load_test_data(LECTURE, RunOptions(num_workers=-1))
