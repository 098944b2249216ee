import io
import os
import random

import numpy as np
import pytest
from PIL import Image, ImageOps

from d2l_alexnet.data.pictures import like_cifar10, like_fashion_mnist, read_picture
from d2l_alexnet.errors import InputError


@pytest.fixture
def boot(fashion_mnist):
    """The first test image, an ankle boot, as a gray picture."""
    return Image.fromarray(fashion_mnist[1][0][0, ..., 0])


@pytest.fixture
def read(tmp_path):
    """Save a picture and read it back; give the image without its channel, and if inverted."""

    def read(picture, name="picture.png", **settings):
        picture.save(tmp_path / name, **settings)
        image, inverted = read_picture(tmp_path / name, like_fashion_mnist)
        assert (image.dtype, image.shape) == (np.uint8, (28, 28, 1))
        return image[..., 0], inverted

    return read


def test_images_of_the_data_set_stay_as_they_are(fashion_mnist):
    """Few of them fill their border with something bright: none of the test images."""
    _, (images, _) = fashion_mnist
    for image in images:
        picture = Image.fromarray(image[..., 0]).convert("RGBA")
        same, inverted = like_fashion_mnist(picture)
        assert not inverted
        assert (same == image).all()


@pytest.mark.parametrize("name", ["a.bmp", "a.gif", "a.png", "a.ppm"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats_without_loss_keep_every_pixel(boot, read, name, mode):
    image, inverted = read(boot.convert(mode), name)
    assert not inverted
    assert (image == np.asarray(boot)).all()


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "L"), ("a.jpg", "CMYK"), ("a.webp", "RGB")])
def test_formats_with_loss_come_close(boot, read, name, mode):
    image, inverted = read(boot.resize((280, 280)).convert(mode), name)
    assert not inverted
    assert abs(image.astype(int) - np.asarray(boot)).mean() < 5


def test_sixteen_bits_a_pixel_are_not_cut_off(boot, read):
    image, _ = read(Image.fromarray(np.asarray(boot).astype(np.uint16) * 257))
    assert (image == np.asarray(boot)).all()


def pfm(values):
    """Write gray values as a portable float map, which begins with the lowest row."""
    head = "Pf\n{1} {0}\n-1.0\n".format(*values.shape)
    return head.encode() + values[::-1].astype("<f4").tobytes()


def test_floats_from_0_to_1_are_not_read_as_black(boot, tmp_path):
    (tmp_path / "boot.pfm").write_bytes(pfm(np.asarray(boot) / 255))
    image, _ = read_picture(tmp_path / "boot.pfm", like_fashion_mnist)
    assert (image[..., 0] == np.asarray(boot)).all()


def test_a_dark_thing_on_white_is_inverted_and_said_to_be(boot, read):
    image, inverted = read(ImageOps.invert(boot))
    assert inverted
    assert (image == np.asarray(boot)).all()


def test_half_of_a_border_is_not_most_of_it(read):
    picture = np.zeros((28, 28), np.uint8)
    picture[:14] = 255
    assert not read(Image.fromarray(picture))[1]
    picture[14, 0] = 128
    assert read(Image.fromarray(picture))[1]


@pytest.mark.parametrize(("shade", "inverted"), [(20, True), (230, False)])
def test_what_is_transparent_sets_off_the_rest(boot, read, shade, inverted):
    """A dark boot lies on white, which is then inverted, a bright one on black: both are bright."""
    there = boot.point(lambda value: 255 * (value > 0))
    gray = Image.new("L", boot.size, shade)
    image, was_inverted = read(Image.merge("RGBA", [gray, gray, gray, there]))
    assert was_inverted == inverted
    assert ((image > 200) == (np.asarray(there) > 0)).all()
    assert ((image == 0) == (np.asarray(there) == 0)).all()


@pytest.mark.parametrize("size", [(56, 28), (28, 56)])
def test_other_shapes_are_padded_with_the_picture_in_the_middle(read, size):
    picture = ImageOps.expand(Image.new("L", (size[0] - 8, size[1] - 8), 255), 4)
    image, inverted = read(picture)
    image = image if size[0] > size[1] else image.T  # 28 wide, 14 high
    assert not inverted
    assert (image[:7] == 0).all()
    assert (image[21:] == 0).all()
    assert (image[10:18, 4:24] > 250).all()


def test_a_photograph_is_turned_as_its_camera_was_held(boot, read):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image, _ = read(boot.rotate(90), exif=exif)
    assert (image == np.asarray(boot)).all()


def test_the_smallest_and_a_large_picture(read):
    assert (read(Image.new("L", (1, 1), 90))[0] == 90).all()
    assert (read(Image.new("RGB", (5000, 4000), (90, 90, 90)))[0][14] == 90).all()


def bytes_of(picture, name="PNG"):
    file = io.BytesIO()
    picture.save(file, name)
    return file.getvalue()


GRAY = Image.fromarray(np.random.RandomState(0).randint(0, 99, (40, 30), dtype=np.uint8))
BAD = {
    "empty": (b"", "not a picture (BMP, GIF, JPEG, PNG, PPM, WEBP)"),
    "text": (b"hello\n", "not a picture (BMP, GIF, JPEG, PNG, PPM, WEBP)"),
    "program": (bytes_of(GRAY, "EPS"), "not a picture (BMP, GIF, JPEG, PNG, PPM, WEBP)"),
    "truncated": (bytes_of(GRAY)[:500], "cannot read this picture (image file is truncated"),
    "truncated-jpeg": (bytes_of(GRAY, "JPEG")[:700], "cannot read this picture (image file is "),
    "size-0": (b"P5 0 0 255\n", ""),
    "large": (bytes_of(Image.new("1", (12_000, 9_000))), "could be decompression bomb"),
    "huge": (bytes_of(Image.new("1", (30_000, 30_000))), "could be decompression bomb"),
    "narrow": (bytes_of(Image.new("L", (29, 1))), "it is more than 28 times as long as wide"),
    "float-255": (pfm(np.full((9, 9), 255.0)), "should be from 0 to 1, not 255.0 to 255.0"),
    "float-negative": (pfm(np.full((9, 9), -0.5)), "should be from 0 to 1, not -0.5 to -0.5"),
    "float-nan": (pfm(np.full((9, 9), np.nan)), "should be from 0 to 1, not nan to nan"),
    "transparent": (bytes_of(Image.new("RGBA", (9, 9))), "it is fully transparent"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_named_in_one_line(tmp_path, name):
    path, (data, why) = tmp_path / name, BAD[name]
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_picture(path, like_fashion_mnist)
    assert str(caught.value).startswith(f"{path}: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "why"), [("none.png", "No such file or directory"), (".", "Is a directory")]
)
def test_a_missing_picture_is_named(path, why):
    with pytest.raises(InputError, match=f"^{path}: cannot read this picture .{why}.$"):
        read_picture(path, like_fashion_mnist)


def test_a_named_pipe_and_an_endless_device_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(InputError, match=f"^{path}: cannot read .*not a regular file; - is "):
            read_picture(path, like_fashion_mnist)


@pytest.mark.parametrize("name", ["BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP"])
def test_damaged_pictures_are_read_or_refused_and_nothing_else(tmp_path, name):
    whole, chance = bytearray(bytes_of(GRAY, name)), random.Random(0)
    for _ in range(60):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for i in chance.sample(range(len(damaged)), min(chance.randrange(4), len(damaged))):
            damaged[i] = chance.randrange(256)
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            image, _ = read_picture(tmp_path / "damaged", like_fashion_mnist)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert image.shape == (28, 28, 1)


def in_color(picture, path):
    picture.save(path)
    image, inverted = read_picture(path, like_cifar10)
    assert (image.dtype, image.shape, inverted) == (np.uint8, (32, 32, 3), False)
    return image


def test_images_of_cifar10_stay_as_they_are(cifar10):
    _, (images, _) = cifar10
    for image in images:
        same, inverted = like_cifar10(Image.fromarray(image).convert("RGBA"))
        assert not inverted
        assert (same == image).all()


@pytest.mark.parametrize("size", [(96, 32), (32, 68)])
def test_in_color_the_middle_of_another_shape_is_kept(cifar10, tmp_path, size):
    image = cifar10[1][0][0]
    picture = Image.new("RGB", size, "red")
    picture.paste(Image.fromarray(image), ((size[0] - 32) // 2, (size[1] - 32) // 2))
    assert (in_color(picture, tmp_path / "picture.png") == image).all()


def test_in_color_a_large_bright_picture_is_shrunk_and_not_inverted(tmp_path):
    image = in_color(Image.new("RGB", (640, 480), (250, 240, 10)), tmp_path / "picture.png")
    assert (image == (250, 240, 10)).all()


def test_in_color_what_is_transparent_is_white_and_grey_is_grey(tmp_path):
    picture = Image.new("LA", (32, 32), (90, 255))
    picture.paste((0, 0), (0, 0, 32, 16))
    image = in_color(picture, tmp_path / "picture.png")
    assert (image[:16] == 255).all()
    assert (image[16:] == 90).all()
