import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon.data.vision import transforms
from test_load import batches, same

from d2l_alexnet.data import augment
from d2l_alexnet.data.augment import RANDOM_NUMBERS
from d2l_alexnet.data.load import load_data_cifar10
from d2l_alexnet.data.loader import closing
from d2l_alexnet.data.samplers import ShuffledSamplerWithNumbers
from d2l_alexnet.errors import InputError, RunError

WHOLE = dict(resize=32, crop=32)
SMALLER = dict(resize=36, crop=32)  # than the lecture's, for rotating images takes its time


def loaders(*arguments, **settings):
    return load_data_cifar10(*arguments, **{"num_workers": 0, **settings})


def fraction_of_different(some, others):
    return np.mean([not np.array_equal(X, Z) for X, Z in zip(some, others)])


def lectures_pixels(image, cut):
    """One image as the lecture's transforms make it: float32 (C, H, W)."""
    lecture = transforms.Compose(
        [transforms.Resize(70), cut, transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
    )
    return lecture(mx.nd.array(image, dtype=np.uint8)).asnumpy()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_have_the_lectures_shapes_types_and_range(small_cifar10, num_workers):
    train_iter, valid_iter, test_iter = loaders(64, num_workers=num_workers)
    with closing([train_iter, valid_iter, test_iter]):
        X, y = next(iter(train_iter))
        assert (X.shape, X.dtype) == ((64, 3, 64, 64), np.float32)
        assert (y.shape, y.dtype) == ((64,), np.int32)
        assert (X.min().asscalar(), X.max().asscalar()) == (-1, 1)
        # 270 - 4 × 64 = 14 training images do not fill a batch
        assert [len(y) for _, y in train_iter] == [64] * 4
        assert (len(train_iter), train_iter.images) == (4, 256)
        assert [len(y) for _, y in valid_iter] == [30]
        assert [len(y) for _, y in test_iter] == [64, 6]


def test_the_last_tenth_is_for_validation(cifar10):
    (images, labels), (_, test_labels) = cifar10
    train_iter, valid_iter, test_iter = loaders(1000, **WHOLE)
    assert (len(train_iter.dataset), valid_iter.images, test_iter.images) == (45_000, 5_000, 10_000)
    assert train_iter.images == 45_000
    assert (valid_iter.dataset[0][0] == images[45_000]).all()
    ys = np.concatenate([y for _, y in batches(valid_iter)])
    assert (ys == labels[45_000:]).all()
    assert (np.concatenate([y for _, y in batches(test_iter)]) == test_labels).all()


def test_validation_and_test_images_are_bit_for_bit_the_lectures(small_cifar10):
    (images, _), (test_images, _) = small_cifar10
    center = transforms.CenterCrop(64)
    for num_workers in (0, 2):
        _, *others = loaders(40, num_workers=num_workers)
        with closing(others):
            for loader, own in zip(others, (images[270:], test_images)):
                expected = np.stack([lectures_pixels(image, center) for image in own])
                assert (np.concatenate([X for X, _ in batches(loader)]) == expected).all()


def test_training_images_are_the_lectures_crops_each_in_a_place_of_its_own(small_cifar10):
    (images, labels), _ = small_cifar10
    train_iter, *_ = loaders(100, seed=3)
    sampler, places = ShuffledSamplerWithNumbers(270, seed=3), []
    for X, y in batches(train_iter):
        for pixels, label in zip(X, y):
            if not places:
                keys = iter(sampler)
            index, numbers = next(keys)
            down, right = (numbers[:2] * 7).astype(int)
            places.append((down, right))
            cut = transforms.CropResize(int(right), int(down), 64, 64)
            assert label == labels[index]
            assert (pixels == lectures_pixels(images[index], cut)).all()
    assert len(places) == 200
    assert {down for down, _ in places} == {right for _, right in places} == set(range(7))
    assert len(set(places)) > 40  # of 49


def test_without_resizing_nor_cropping_images_are_as_they_are(small_cifar10):
    (images, _), _ = small_cifar10
    train_iter, valid_iter, _ = loaders(270, **WHOLE)
    whole = {image.tobytes() for image in images}
    for loader in (train_iter, valid_iter):
        for X, _ in batches(loader):
            pixels = np.rint((X + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
            assert pixels.shape[1:] == (32, 32, 3)
            assert all(image.tobytes() in whole for image in pixels)


@pytest.mark.parametrize("augmented", [False, True])
def test_the_same_seed_gives_the_same_batches_whatever_the_workers(small_cifar10, augmented):
    epochs = []
    for num_workers in (0, 1, 2):
        train_iter, *others = loaders(
            60, **SMALLER, augment=augmented, num_workers=num_workers, seed=5
        )
        with closing([train_iter, *others]):
            epochs.append((batches(train_iter), batches(train_iter)))
    (first, second), *others = epochs
    assert all(same(first, one) and same(second, two) for one, two in others)
    assert not same(first, second)


@pytest.mark.parametrize("augmented", [False, True])
def test_an_image_changes_with_the_epoch_and_the_seed_alone(small_cifar10, augmented):
    """Its change does not depend on which images come before it, nor on how many there are."""
    views = []
    for seed, train_size in ((1, 270), (1, 100), (2, 270)):
        train_iter, *_ = loaders(10, **SMALLER, augment=augmented, seed=seed, train_size=train_size)
        for epoch in (1, 2):
            next(train_iter.from_batch(epoch, 0))
            ((X, _),) = batches(train_iter.first(50, batch_size=50))
            views.append(X)
    (one, two), (short_one, short_two), (other, _) = views[:2], views[2:4], views[4:]
    assert (one == short_one).all()
    assert (two == short_two).all()
    assert fraction_of_different(one, two) > 0.9
    assert fraction_of_different(one, other) > 0.9


def test_an_epoch_resumed_in_its_middle_goes_on_with_the_same_batches(small_cifar10):
    train_iter, *_ = loaders(60, **SMALLER, augment=True, seed=5)
    whole = [batches(train_iter.from_batch(epoch, 0)) for epoch in (1, 2)]
    again, *_ = loaders(60, **SMALLER, augment=True, seed=5)
    assert same(batches(again.from_batch(2, 3)), whole[1][3:])
    assert len(batches(again.from_batch(2, 4))) == 0


def test_the_images_of_an_epoch_can_be_had_again_in_order(small_cifar10):
    (_, labels), _ = small_cifar10
    for num_workers in (0, 2):
        train_iter, *others = loaders(90, **SMALLER, num_workers=num_workers, seed=7)
        with closing([train_iter, *others]):
            seen = batches(train_iter)
            again = train_iter.first(1000, batch_size=100)
            assert (again.images, again.workers) == (270, train_iter.workers)
            found = batches(again)
            assert [len(y) for _, y in found] == [100, 100, 70]
            assert (np.concatenate([y for _, y in found]) == labels[:270]).all()
            in_epoch = {image.tobytes() for X, _ in seen for image in X}
            assert in_epoch == {image.tobytes() for X, _ in found for image in X}


def test_augmented_images_differ_only_a_little(small_cifar10):
    (images, _), _ = small_cifar10
    plain, *_ = loaders(270, **SMALLER, seed=1)
    augmented, *_ = loaders(270, **SMALLER, seed=1, augment=True)
    ((X, y),), ((Z, z),) = batches(plain), batches(augmented)
    assert (y == z).all()
    assert all(not np.array_equal(a, b) for a, b in zip(X, Z))
    assert (Z.min(), Z.max()) == (-1, 1)
    assert abs(X.mean() - Z.mean()) < 0.1


def test_numbers_of_one_half_leave_an_image_as_it_is():
    image = np.random.RandomState(0).randint(0, 256, (2, 20, 20, 3)).astype(np.uint8)
    half = np.full((2, RANDOM_NUMBERS), 0.5)
    rotated = augment.rotate(mx.nd.array(image, dtype=np.uint8), half[:, 2]).asnumpy()
    assert (rotated == image).all()
    assert (augment.flip(image, half[:, 3]) == image).all()
    assert (augment.jitter_color(image, half[:, 4:]) == image).all()
    assert (augment.flip(image, np.array([0.49, 0.5]))[0] == image[0, :, ::-1]).all()
    assert (augment.flip(image, np.array([0.49, 0.5]))[1] == image[1]).all()


def test_color_jitter_by_hand():
    """Red images of one pixel: brightness times 1.2; saturation times 0, 1.2 and 2."""
    image = np.array([[[[100, 40, 20]]]], np.uint8)
    brighter = augment.jitter_color(image, np.array([[1.0, 0.5, 0.5]]))
    assert np.abs(brighter[0, 0, 0] - np.array([120, 48, 24])).max() <= 1
    gray = 0.299 * 100 + 0.587 * 40 + 0.114 * 20
    assert np.abs(augment.adjust_saturation(image, np.float32(0)) - gray).max() <= 0.5
    stronger = augment.adjust_saturation(image, np.float32(1.2))
    assert np.abs(stronger - (gray + 1.2 * (image - gray))).max() <= 0.5
    red = np.array([[[[255, 0, 0]]]], np.uint8)
    assert augment.adjust_saturation(red, np.float32(2)).tolist() == red.tolist()


def test_brightness_and_contrast_are_gluons_bit_for_bit(small_cifar10):
    (images, _), _ = small_cifar10
    numbers = np.random.RandomState(0).random_sample((len(images), 3))
    numbers[:, 2] = 0.5  # Gluon's saturation is wrong
    for image, each, ours in zip(images, numbers, augment.jitter_color(images, numbers)):
        brightness, contrast, _ = 1 + augment.JITTER * (2 * each - 1)
        X = mx.nd.array(image, dtype=np.uint8)
        X = mx.nd.image.random_brightness(X, min_factor=brightness, max_factor=brightness)
        X = mx.nd.image.random_contrast(X, min_factor=contrast, max_factor=contrast)
        assert (X.asnumpy() == ours).all()


def test_an_image_is_rotated_around_its_centre():
    image = np.zeros((2, 31, 31, 3), np.uint8)
    image[:, 5, 15] = image[:, 15, 15] = 255  # the center, and straight above it
    rotated = augment.rotate(mx.nd.array(image, dtype=np.uint8), np.array([0.0, 1.0])).asnumpy()
    assert (rotated[:, 15, 15] == 255).all()
    columns = [np.argmax(one[3:8, :, 0].sum(axis=0)) for one in rotated]
    assert sorted(columns) == [15 - 3, 15 + 3]  # 10 × sin 15° = 2.6


def test_a_worker_that_dies_with_a_batch_in_shared_memory_is_named(small_cifar10, monkeypatch):
    train_iter, *others = loaders(64, num_workers=1)
    check = train_iter.check_workers

    def die_after_the_check(patience=0):
        if patience:
            check(patience)
        train_iter.workers[0].kill()

    with closing([train_iter, *others]):
        batches = train_iter._prefetch_iter()
        batches._data_buffer[0].wait(60)
        monkeypatch.setattr(train_iter, "check_workers", die_after_the_check)
        with pytest.raises(RunError, match="^a loader worker was killed by SIGKILL: "):
            next(batches)


def test_too_few_training_images_for_a_batch_are_refused(small_cifar10):
    message = "^--batch-size 256: larger than the 100 training images, "
    with pytest.raises(InputError, match=message):
        loaders(256, train_size=100)


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(InputError, match="^crop 64 is larger than resize 32; choose 32 or less$"):
        load_data_cifar10(128, resize=32)
