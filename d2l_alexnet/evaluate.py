"""What a trained net gets right and what it mistakes for what, on the test set or any picture."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import mxnet as mx
import numpy as np

from d2l_alexnet import cli, figures
from d2l_alexnet.build import build_net, input_shape
from d2l_alexnet.callbacks.progress import watched
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.data.load import load_data
from d2l_alexnet.data.loader import closing
from d2l_alexnet.data.pictures import read_picture
from d2l_alexnet.data.transforms import transform_of
from d2l_alexnet.errors import InputError
from d2l_alexnet.metrics import split
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import Recipe
from d2l_alexnet.run_folder.folder import writing
from d2l_alexnet.run_folder.params import load_params
from d2l_alexnet.run_folder.settings import read_settings
from d2l_alexnet.runtime import devices

MISTAKES = 20  # in the picture
EPILOG = """Pictures (BMP, GIF, JPEG, PNG, PPM, WebP; any size, grey or colour) are made like those
that the net was trained on. For Fashion-MNIST, where clothes are bright and the background is
black, they are greyed; inverted if more than half of the border is bright, which the line then
says; padded with black to a square with the picture in the middle; shrunk to 28 x 28 pixels. What
is transparent is taken for black behind something bright, and for white behind something dark. No
margin is cut off, and in the data there is none: let the thing fill the picture. For CIFAR-10 they
keep their colours; the largest square in their middle is cut out and made 32 x 32 pixels. What is
transparent is taken for white. Then comes what the recipe does with the images that it tests on."""


@dataclass(frozen=True)
class Evaluation:
    """What a net gives for every image of a set.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, H, W, C), as they are in the data set's files.
    labels : numpy.ndarray
        int (N,), the true classes.
    y_hat : numpy.ndarray
        float32 (N, classes), the net's outputs.
    classes : sequence of str
        The names of the classes.
    """

    images: np.ndarray
    labels: np.ndarray
    y_hat: np.ndarray
    classes: tuple

    @property
    def predicted(self):
        """The classes of the largest outputs: int (N,)."""
        return self.y_hat.argmax(axis=1)

    @property
    def correct(self):
        """How many images are taken for what they are."""
        return int((self.predicted == self.labels).sum())

    @property
    def confusion(self):
        """Images of the row's class that are taken for the column's: int (classes, classes)."""
        matrix = np.zeros((self.y_hat.shape[1],) * 2, int)
        np.add.at(matrix, (self.labels, self.predicted), 1)
        return matrix

    def mistakes(self, number=MISTAKES):
        """Find the images that the net is most sure of and wrong about, the surest first.

        Returns
        -------
        numpy.ndarray
            Their indices, at most `number`.
        """
        sure = softmax(self.y_hat).max(axis=1)
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-sure[wrong], kind="stable")][:number]


@dataclass(frozen=True)
class Prediction:
    """What a net says of a picture.

    Parameters
    ----------
    path : str
    inverted : bool
        Whether the picture was inverted first; see `d2l_alexnet.pictures`.
    probabilities : numpy.ndarray
        (classes,), 0…1.
    classes : sequence of str
        The names of the classes.
    """

    path: str
    inverted: bool
    probabilities: np.ndarray
    classes: tuple

    def __str__(self):
        how = " (inverted)" if self.inverted else ""
        order = np.argsort(-self.probabilities, kind="stable")
        said = ", ".join(f"{self.classes[i]} {self.probabilities[i]:.3f}" for i in order)
        return f"{self.path}{how}: {said}"


def evaluate(run: str | Path, options: RunOptions | None = None, **keywords: Any) -> Evaluation:
    """Evaluate the net of a run on all test images, print what came of it, and draw it.

    Parameters
    ----------
    run : path
        The run folder.
    options : RunOptions, optional
        Of which `ctx`, `num_workers` and `data_dir` are used, and `out`: the folder for
        confusion.png and mistakes.png; the run folder if not given.
    **keywords
        Fields of `RunOptions`.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        For bad input, and a folder that does not hold a sound net.
    RunError
        When a worker dies, or a picture cannot be written.
    """
    options = dataclasses.replace(options or RunOptions(), **keywords)
    net, recipe, ctx = load_net(run, options.ctx)
    out = _folder(Path(options.out or run))
    train_iter, tested = load_data(recipe, options, ctx[0])
    test_iter = tested["test_accuracy"]
    enough_memory = devices.explain_out_of_memory(ctx[0], test_iter.batch_size)
    with closing([train_iter, *tested.values()]), enough_memory:
        evaluation = predict(net, test_iter, ctx, DATA_SETS[recipe.data].classes)
    print(as_text(evaluation))
    write_pictures(out, evaluation)
    return evaluation


def load_net(run, ctx="auto"):
    """Load the net of a run, ready to predict.

    Returns
    -------
    net : mxnet.gluon.HybridBlock
    recipe : Recipe
        That it was trained by.
    ctx : list of mxnet.Context
        Where it lies.

    Raises
    ------
    InputError
        When the folder does not hold a run's settings and the weights of its net.
    """
    recipe, _ = read_settings(run)
    devices_, _ = devices.choose_context(ctx)
    net = build_net(recipe)
    net.infer_shape(mx.nd.zeros(input_shape(recipe)))
    load_params(net, Path(run, "net.params"), devices_)
    net.hybridize(static_alloc=True, static_shape=True)
    return net, recipe, devices_


def _folder(path):
    """Make a folder if need be; refuse one that cannot be written before any work is done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror})") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot write there; name another folder with --out")
    return path


def predict(net, data_iter, ctx, classes):
    """Run a net in predict mode over all that an iterator gives.

    Parameters
    ----------
    net : mxnet.gluon.Block
    data_iter : DataLoader
        Not shuffled.
    ctx : list of mxnet.Context
        Where the net lies.
    classes : sequence of str
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


def softmax(y_hat):
    """Turn a net's outputs, (N, classes), into probabilities, in float64: few are exactly 1."""
    powers = np.exp(y_hat.astype(np.float64) - y_hat.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def write_pictures(out, evaluation):
    """Draw the confusion matrix and the most confident mistakes into files."""
    pictures = dict(
        confusion=figures.confusion(evaluation.confusion, evaluation.classes),
        mistakes=draw_answers(evaluation, evaluation.mistakes()),
    )
    for name, figure in pictures.items():
        with writing(out / f"{name}.png") as partial:
            figure.savefig(partial, dpi=150, format="png")


def draw_answers(evaluation, which):
    """Draw some of the images, each with its class and what the net takes it for.

    Parameters
    ----------
    evaluation : Evaluation
    which : sequence of int
        Their indices, as `Evaluation.mistakes` gives them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    images, labels = evaluation.images[which], evaluation.labels[which]
    sure = softmax(evaluation.y_hat[which]).max(axis=1)
    return figures.samples(images, labels, evaluation.classes, evaluation.predicted[which], sure)


def as_text(evaluation):
    """Write an evaluation down: accuracy, a table of the classes, the confusion matrix."""
    correct, images = evaluation.correct, len(evaluation.labels)
    head = f"{'class':12} {'images':>6} {'correct':>7} {'accuracy':>8}  most often taken for"
    classes, confusion = evaluation.classes, evaluation.confusion
    numbers = "".join(f"{i:6}" for i in range(len(classes)))
    return "\n".join(
        [
            f"test accuracy {correct}/{images} = {correct / images:.4f}",
            "",
            head,
            *(_class_line(classes, i, row) for i, row in enumerate(confusion)),
            "",
            "true class (row), taken for (column)",
            f"{'':12}{numbers}",
            *(
                f"{i} {classes[i]:10}" + "".join(f"{count:6}" for count in row)
                for i, row in enumerate(confusion)
            ),
        ]
    )


def _class_line(classes, i, row):
    """Write a class's line of the table, from its row of the confusion matrix."""
    images, correct = row.sum(), row[i]
    accuracy = f"{correct / images:8.3f}" if images else f"{'':8}"
    others = np.where(np.arange(len(row)) == i, 0, row)
    mistaken = f"{classes[others.argmax()]} ({others.max()})" if others.any() else ""
    return f"{classes[i]:12} {images:6} {correct:7} {accuracy}  {mistaken}".rstrip()


def classify(
    run: str | Path, paths: Sequence[str | Path], ctx: str = "auto"
) -> list[Prediction | None]:
    """Say what the net of a run takes pictures for; a bad picture is named and passed over.

    Parameters
    ----------
    run : path
        The run folder.
    paths : sequence of path
        See `d2l_alexnet.pictures.read_picture`.
    ctx : str
        As for `d2l_alexnet.train.train`.

    Returns
    -------
    list of Answer or None
        None for a picture that could not be read.

    Raises
    ------
    InputError
        For a folder that does not hold a sound net.
    """
    net, recipe, devices_ = load_net(run, ctx)
    dataset = DATA_SETS[recipe.data]
    if not dataset.from_picture:
        raise InputError(f"{run}: {dataset.title} does not say how to make its images of pictures")
    transform, predictions = transform_of(recipe, dataset), []
    for path in paths:
        try:
            image, inverted = read_picture(path, dataset.from_picture)
        except InputError as error:
            cli.say(error, status=2)
            predictions.append(None)
            continue
        X = mx.nd.array(image[np.newaxis], dtype=np.uint8)  # (1, H, W, C)
        X = transform.to_tensor(transform.on_cpu(X).as_in_context(devices_[0]))
        probabilities = softmax(net(X).asnumpy())[0]  # (classes,)
        predictions.append(Prediction(str(path), inverted, probabilities, dataset.classes))
        print(predictions[-1], flush=True)
    return predictions


def main(argv: Sequence[str] | None = None) -> Evaluation | list[Prediction | None]:
    """Read the command line, evaluate a run's net, and return the result."""
    description = "Evaluate a trained net on the test images, or classify pictures."
    parser = cli.Parser("evaluate", description, EPILOG)
    parser.add_argument("run", metavar="RUN", help="run folder: args.json and net.params")
    parser.add_argument(
        "--images", nargs="+", metavar="FILE", help="classify these instead; - is standard input"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for confusion.png and mistakes.png; RUN if not given"
    )
    cli.add_flags(parser, RunOptions, "ctx", "num_workers", "data_dir")
    given = vars(parser.parse_args(argv))
    run, images = given.pop("run"), given.pop("images")
    options = cli.take(given, RunOptions)
    if not images:
        return evaluate(run, options)
    predictions = classify(run, images, options.ctx)
    if None in predictions:
        sys.exit(2)
    return predictions


if __name__ == "__main__":
    cli.run(main)
