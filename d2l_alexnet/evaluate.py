"""Evaluate a trained net on all test images, or classify pictures.

``python -m d2l_alexnet.evaluate RUN`` loads the net of a run folder.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import mxnet as mx
import numpy as np

from d2l_alexnet import cli, figures, precision
from d2l_alexnet.build import build_net, input_shape
from d2l_alexnet.callbacks.progress import watched
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.data.load import load_test_data
from d2l_alexnet.data.pictures import read_picture
from d2l_alexnet.data.transforms import transform_of
from d2l_alexnet.errors import InputError
from d2l_alexnet.metrics import split
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import Recipe
from d2l_alexnet.run_folder import results
from d2l_alexnet.run_folder.params import load_params
from d2l_alexnet.run_folder.settings import read_settings
from d2l_alexnet.runtime.devices import choose_context, explain_out_of_memory

MISTAKES = 20  # images in mistakes.png
ALIKE = 2  # of them with the same true class and the same predicted class
EPILOG = """Pictures may be BMP, GIF, JPEG, PNG, PPM or WebP, of any size, gray or in color. They
are converted to images like those of the data set. Fashion-MNIST: the picture is converted to gray.
The data set has bright clothes on black. So if more than half of the border of the picture is
bright, the picture is inverted, and its line in the output says "inverted". It is padded with black
to a square, and resized to 28 x 28 pixels. Transparent pixels become black if the object is bright,
and white if it is dark. Nothing is cropped, so the object should fill the picture. CIFAR-10: the
largest square in the middle is cropped and resized to 32 x 32 pixels, in color. Transparent pixels
become white."""


@dataclass(frozen=True)
class Evaluation:
    """The outputs of a net for all images of a data set.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, H, W, C), as in the data set's files.
    labels : numpy.ndarray
        int (N,), the true classes.
    y_hat : numpy.ndarray
        float32 (N, classes), the net's outputs.
    classes : tuple of str
        The names of the classes.
    """

    images: np.ndarray
    labels: np.ndarray
    y_hat: np.ndarray
    classes: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """The classes with the largest outputs: int (N,)."""
        return self.y_hat.argmax(axis=1)

    @property
    def correct(self) -> int:
        """The number of correct predictions."""
        return int((self.predicted == self.labels).sum())

    @property
    def confusion(self) -> np.ndarray:
        """Counts of images by true class (row) and predicted class (column)."""
        matrix = np.zeros((self.y_hat.shape[1],) * 2, int)
        np.add.at(matrix, (self.labels, self.predicted), 1)
        return matrix

    @property
    def confidence(self) -> np.ndarray:
        """The probabilities of the predicted classes: float64 (N,)."""
        return softmax(self.y_hat).max(axis=1)

    def mistakes(self, number: int = MISTAKES, alike: int = ALIKE) -> np.ndarray:
        """Find the wrong predictions with the highest confidence.

        Parameters
        ----------
        number : int
            Largest number of images.
        alike : int
            Largest number of images with the same true and the same predicted class.

        Returns
        -------
        numpy.ndarray
            The indices of the images, the highest confidence first.
        """
        predicted = self.predicted
        wrong = np.flatnonzero(predicted != self.labels)
        found: Counter[tuple[int, int]] = Counter()
        chosen = []
        for i in wrong[np.argsort(-self.confidence[wrong], kind="stable")]:
            pair = self.labels[i], predicted[i]
            found[pair] += 1
            if found[pair] <= alike:
                chosen.append(i)
        return np.array(chosen[:number], int)


@dataclass(frozen=True)
class Prediction:
    """The prediction of a net for a picture.

    Parameters
    ----------
    path : str
    inverted : bool
        Whether the picture was inverted first; see `d2l_alexnet.data.pictures`.
    probabilities : numpy.ndarray
        (classes,), 0…1.
    classes : tuple of str
        The names of the classes.
    """

    path: str
    inverted: bool
    probabilities: np.ndarray
    classes: tuple[str, ...]

    def __str__(self) -> str:
        note = " (inverted)" if self.inverted else ""
        order = np.argsort(-self.probabilities, kind="stable")
        text = ", ".join(f"{self.classes[i]} {self.probabilities[i]:.3f}" for i in order)
        # A file's name that is not in UTF-8 has surrogates, which cannot be printed.
        name = self.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return f"{name}{note}: {text}"


def evaluate(run: str | Path, options: RunOptions | None = None, **keywords: Any) -> Evaluation:
    """Evaluate the net of a run on all test images; print and plot the results.

    Parameters
    ----------
    run : path
        The run folder.
    options : RunOptions, optional
        `ctx`, `num_workers`, `data_dir` and `out` are used. `out` is the folder for confusion.png
        and mistakes.png; the run folder if not given.
    **keywords
        Fields of `RunOptions`.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        For bad input, and for a folder without a valid net.params.
    RunError
        When a loader worker dies, or a figure cannot be written.
    """
    options = dataclasses.replace(options or RunOptions(), **keywords)
    net, recipe, ctx = load_net(run, options.ctx)
    out = _writable_folder(Path(options.out or run))
    test_iter = load_test_data(recipe, options, ctx[0])
    with test_iter, explain_out_of_memory(ctx[0], test_iter.batch_size):
        evaluation = predict(net, test_iter, ctx, DATA_SETS[recipe.data].classes)
    print(as_text(evaluation))
    write_figures(out, evaluation)
    return evaluation


def load_net(
    run: str | Path, ctx: str = "auto", dtype: str | None = None
) -> tuple[Any, Recipe, list]:
    """Load the net of a run.

    Parameters
    ----------
    run : path
        The run folder.
    ctx : str
        See `d2l_alexnet.options.RunOptions`.
    dtype : str, optional
        The number format of the computation. If not given, it is the format of the training. If the
        device does not support this format, it is float32, and one line says so.

    Returns
    -------
    net : mxnet.gluon.HybridBlock
    recipe : Recipe
        The recipe that the net was trained with.
    ctx : list of mxnet.Context
        The devices that hold the net.

    Raises
    ------
    InputError
        When the folder does not hold the settings of a run and the weights of its net.
    """
    recipe, _ = read_settings(run)
    devices, _ = choose_context(ctx)
    net = build_net(dataclasses.replace(recipe, dtype=dtype or _usable_dtype(recipe, devices)))
    net.infer_shape(mx.nd.zeros(input_shape(recipe)))
    load_params(net, Path(run, "net.params"), devices)
    net.hybridize(static_alloc=True, static_shape=True)
    return net, recipe, devices


def _usable_dtype(recipe: Recipe, ctx: Sequence) -> str:
    """Return the recipe's dtype. If the device cannot use it, print a line and return float32."""
    reason = precision.unsupported_reason(recipe.dtype, ctx)
    if reason:
        print(f"Evaluated in float32, but trained in {recipe.dtype}: {reason}")
    return "float32" if reason else recipe.dtype


def _writable_folder(path: Path) -> Path:
    """Create a folder if there is none, and check that files can be written in it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror})") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot write there; choose another folder with --out")
    return path


def predict(net: Any, data_iter: Any, ctx: Sequence, classes: tuple[str, ...]) -> Evaluation:
    """Compute the outputs of a net in predict mode for all images of an iterator.

    Parameters
    ----------
    net : mxnet.gluon.Block
    data_iter : DataLoader
        Not shuffled.
    ctx : list of mxnet.Context
        The devices that hold the net.
    classes : tuple of str
        The names of the classes.

    Returns
    -------
    Evaluation
    """
    labels, y_hat = [], []
    for X, y in watched(data_iter, "testing"):
        labels.append(y.asnumpy())
        y_hat += [part.asnumpy() for part in map(net, split(X, ctx))]
    images = np.stack([image for image, _ in data_iter.dataset])
    return Evaluation(images, np.concatenate(labels), np.concatenate(y_hat), classes)


def softmax(y_hat: np.ndarray) -> np.ndarray:
    """Compute probabilities from a net's outputs, (N, classes), in float64: few become 1.0."""
    powers = np.exp(y_hat.astype(np.float64) - y_hat.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def write_figures(out: Path, evaluation: Evaluation) -> None:
    """Write figures: the confusion matrix, and the mistakes with the highest confidence."""
    plots = dict(
        confusion=lambda: figures.confusion(evaluation.confusion, evaluation.classes),
        mistakes=lambda: draw_predictions(evaluation, evaluation.mistakes()),
    )
    results.write_figures(out, plots)


def draw_predictions(evaluation: Evaluation, which: Sequence[int] | np.ndarray) -> Any:
    """Draw some of the images with their true class and the two most probable classes.

    Parameters
    ----------
    evaluation : Evaluation
    which : sequence of int
        The indices of the images, as from `Evaluation.mistakes`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    return figures.samples(
        evaluation.images[which],
        evaluation.labels[which],
        evaluation.classes,
        softmax(evaluation.y_hat[which]),
    )


def as_text(evaluation: Evaluation) -> str:
    """Write an evaluation as text: accuracy, a table of the classes, the confusion matrix."""
    correct, images = evaluation.correct, len(evaluation.labels)
    head = f"{'class':12} {'images':>6} {'correct':>7} {'accuracy':>8}  most often mistaken for"
    classes, confusion = evaluation.classes, evaluation.confusion
    numbers = "".join(f"{i:6}" for i in range(len(classes)))
    return "\n".join(
        [
            f"test accuracy {correct}/{images} = {correct / images:.4f}",
            "",
            head,
            *(_class_line(classes, i, row) for i, row in enumerate(confusion)),
            "",
            "true class (row), predicted class (column)",
            f"{'':12}{numbers}",
            *(
                f"{i} {classes[i]:10}" + "".join(f"{count:6}" for count in row)
                for i, row in enumerate(confusion)
            ),
        ]
    )


def _class_line(classes: Sequence[str], i: int, row: np.ndarray) -> str:
    """Write a class's line of the table from its row of the confusion matrix."""
    images, correct = row.sum(), row[i]
    accuracy = f"{correct / images:8.3f}" if images else f"{'':8}"
    others = np.where(np.arange(len(row)) == i, 0, row)
    mistaken = f"{classes[int(others.argmax())]} ({others.max()})" if others.any() else ""
    return f"{classes[i]:12} {images:6} {correct:7} {accuracy}  {mistaken}".rstrip()


def classify(
    run: str | Path, paths: str | Path | Sequence[str | Path], ctx: str = "auto"
) -> list[Prediction | None]:
    """Classify pictures with the net of a run. Errors of single pictures are printed.

    Parameters
    ----------
    run : path
        The run folder.
    paths : path or sequence of path
        See `d2l_alexnet.data.pictures.read_picture`.
    ctx : str
        See `d2l_alexnet.options.RunOptions`.

    Returns
    -------
    list of Prediction or None
        None for a picture that cannot be read.

    Raises
    ------
    InputError
        For a folder without a valid net.params, for a device that cannot be used, and for a data
        set to whose images pictures cannot be converted.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    net, recipe, devices = load_net(run, ctx)
    dataset = DATA_SETS[recipe.data]
    if not dataset.from_picture:
        raise InputError(f"{run}: pictures cannot be converted to images of {dataset.title}")
    transform = transform_of(recipe, dataset)
    predictions: list[Prediction | None] = []
    for path in paths:
        try:
            image, inverted = read_picture(path, dataset.from_picture)
        except InputError as error:
            cli.print_error(error, status=2)
            predictions.append(None)
            continue
        X = mx.nd.array(image[np.newaxis], dtype=np.uint8)  # (1, H, W, C)
        X = transform.to_tensor(transform.resize_and_crop(X).as_in_context(devices[0]))
        probabilities = softmax(net(X).asnumpy())[0]  # (classes,)
        predictions.append(Prediction(str(path), inverted, probabilities, dataset.classes))
        print(predictions[-1], flush=True)
    return predictions


def main(argv: Sequence[str] | None = None) -> Evaluation | list[Prediction | None]:
    """Read the command line, evaluate a run's net, and return the result."""
    description = "Evaluate a trained net on all test images, or classify pictures."
    parser = cli.Parser("evaluate", description, EPILOG)
    parser.add_argument("run", metavar="RUN", help="folder of a run, with args.json and net.params")
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="FILE",
        help="classify these pictures, and do not test the net; - means standard input",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for confusion.png and mistakes.png; if not given, RUN"
    )
    cli.add_flags(parser, RunOptions, "ctx", "num_workers", "data_dir")
    given = vars(parser.parse_args(argv))
    run, images = given.pop("run"), given.pop("images")
    options = cli.pop_options(given, RunOptions)
    if not images:
        return evaluate(run, options)
    predictions = classify(run, images, options.ctx)
    if None in predictions:
        sys.exit(2)
    return predictions


if __name__ == "__main__":
    cli.run(main)
