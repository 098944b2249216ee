"""Does AlexNet need pooling to 6 × 6? ``python experiments/adaptive_pooling.py``.

Question (statements B3, B4 and B5): the second lecture's AlexNet pools its last feature map to 6 ×
6. The lecture says that this makes large feature maps smaller, but cannot make small feature maps
larger. With images of 64 × 64 pixels, the last feature map is 1 × 1, and the pooling copies it 36
times. How do parameters, time and accuracy change if the net pools to 1 × 1? Which image sizes
work?

Result for the shapes: images of 63 × 63 pixels or more work. The side of the last feature map is 1
for images of 63, 64 and 70 pixels, 3 for 150 pixels and 6 for 224 pixels. Without the copies, the
net has 20,344,650 parameters in place of 57,044,810.

Result for accuracy, n = 2, one core of an AMD EPYC (AVX2), 47 minutes, while other programs ran:
validation accuracy is 0.539 and 0.553 with the copies, and 0.543 and 0.560 without them. The
standard error is 0.016. So the copies make no visible difference in these short runs. A step has 94
million multiply-adds for an image with the copies, and 57 million without them. The time of a step
was not measured on a quiet machine. The log is in results/adaptive-pooling.

Both nets are trained with the settings of `quick`, with which a net learns in few steps. They are
trained for four epochs of the first 9,000 images, in batches of 64. The validation images are 1,000
other training images. Finished runs are skipped, and a run that was stopped is resumed.
"""

from __future__ import annotations

import functools
import statistics
from dataclasses import replace

import runs

from d2l_alexnet import shapes
from d2l_alexnet.errors import InputError
from d2l_alexnet.nets import NETS, AdaptiveAvgPool2D, alexnet_cifar10
from d2l_alexnet.recipes import RECIPES

COPIES = "alexnet_cifar10"
NO_COPIES = "alexnet_cifar10_pool1"
SIDES = (32, 62, 63, 64, 70, 150, 224)
# The images and the net of the lecture. With the settings of `quick`, the net learns in few steps.
ALEXNET = replace(
    RECIPES["quick"],
    data="cifar10",
    resize=RECIPES["cifar10-alexnet"].resize,
    margin=RECIPES["cifar10-alexnet"].margin,
    train_size=9_000,
    batch_size=64,
    num_epochs=4,
)
LINE = (
    "{net}, seed {seed}: {parameters:,} parameters, training {train_accuracy:.3f}, "
    "validation {valid_accuracy:.3f}, {images_per_second} images/s"
)


def main() -> None:
    """List the image sizes, train all that is missing, and draw the accuracies."""
    NETS.setdefault(NO_COPIES, functools.partial(alexnet_cifar10, pool=1))
    arguments = runs.parse(__doc__, "adaptive_pooling")
    if not arguments.quick:
        runs.use_first_images(train=10_000, test=1_000)
    rows = [size(side) for side in SIDES]
    for row in rows:
        print("{side} x {side} pixels: {result}".format(**row))
    histories = {}
    for seed in (0,) if arguments.quick else (0, 1):
        for net in (COPIES, NO_COPIES):
            changed = replace(ALEXNET, net=net)
            found, name = runs.totals(changed), f"{net}-seed{seed}"
            recipe = replace(changed, **(runs.SMALL_CONVNET if arguments.quick else {}))
            history = histories[name] = runs.train_once(recipe, arguments.out / name, seed)
            last = {key: history[-1][key] for key in ("train_accuracy", "valid_accuracy")}
            speed = statistics.median(row["images_per_second"] for row in history)
            rows.append(dict(net=net, seed=seed, **found, **last, images_per_second=round(speed)))
            print(LINE.format(**rows[-1]))
    runs.write(arguments.out / "adaptive_pooling.json", rows)
    runs.plot(
        histories, ("train_accuracy", "valid_accuracy"), arguments.out / "adaptive_pooling.png"
    )


def size(side: int) -> dict:
    """Compute the side of the last feature map for images of this size, or say why they fail."""
    try:
        layers = shapes.trace(alexnet_cifar10(), (1, 3, side, side))
    except InputError as error:
        return dict(side=side, result=str(error))
    pooled = next(n for n, layer in enumerate(layers) if layer.kind == AdaptiveAvgPool2D.__name__)
    feature_map = layers[pooled - 1].output_shape[-1]
    work = sum(layer.multiply_adds for layer in layers)
    result = f"last feature map {feature_map} x {feature_map}, {work / 1e6:.0f} M multiply-adds"
    return dict(side=side, result=result, feature_map=feature_map, multiply_adds=work)


if __name__ == "__main__":
    runs.run(main)
