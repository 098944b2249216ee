"""What a trained net gets right and what it mistakes for what, on the test set or any picture."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import mxnet as mx
import numpy as np

from d2l_alexnet import cli, figures, runs, runtime
from d2l_alexnet.accuracy import split
from d2l_alexnet.data import TO_TENSOR, enlarge, load_data
from d2l_alexnet.datasets import CLASSES
from d2l_alexnet.loader import closing
from d2l_alexnet.params import load_params
from d2l_alexnet.pictures import read_picture
from d2l_alexnet.progress import watched
from d2l_alexnet.runtime import InputError
from d2l_alexnet.train import TEST_BATCH_SIZE, build_net

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
class Answer:
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


def evaluate(run, ctx="auto", num_workers=4, data_dir=None, out=None):
    """Evaluate the net of a run on all test images, print what came of it, and draw it.

    Parameters
    ----------
    run : path
        The run folder.
    ctx, num_workers, data_dir
        As for `d2l_alexnet.train.train`.
    out : path, optional
        Where to write confusion.png and mistakes.png; the run folder if it is not given.

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
    net, recipe, ctx = load_net(run, ctx)
    out = _folder(Path(out or run))
    test_batch_size = max(recipe.batch_size, TEST_BATCH_SIZE)
    train_iter, tested = load_data(recipe, test_batch_size, num_workers, 0, data_dir, ctx[0])
    enough_memory = runtime.naming_lack_of_memory(ctx[0], test_batch_size)
    with closing([train_iter, *tested.values()]), enough_memory:
        evaluation = predict(net, tested["test_accuracy"], ctx, CLASSES[recipe.data])
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
    recipe, *_ = runs.read_settings(run)
    ctx, _ = runtime.choose_context(ctx)
    net = build_net(recipe)
    net.infer_shape(mx.nd.zeros(recipe.input_shape))
    load_params(net, Path(run, "net.params"), ctx)
    net.hybridize(static_alloc=True, static_shape=True)
    return net, recipe, ctx


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
        with runs.writing(out / f"{name}.png") as partial:
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


def recognise(run, paths, ctx="auto"):
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
    net, recipe, ctx = load_net(run, ctx)
    answers = []
    for path in paths:
        try:
            image, inverted = read_picture(path, recipe.data)
        except InputError as error:
            cli.say(error, status=2)
            answers.append(None)
            continue
        X = mx.nd.array(image[np.newaxis], dtype=np.uint8)  # (1, H, W, C)
        X = enlarge(X, recipe.resize, recipe.crop).as_in_context(ctx[0])  # as the loader does it
        y_hat = net(TO_TENSOR[recipe.data](X)).asnumpy()  # (1, classes)
        answers.append(Answer(str(path), inverted, softmax(y_hat)[0], CLASSES[recipe.data]))
        print(answers[-1], flush=True)
    return answers


def main(argv=None):
    """Read the command line, evaluate a run's net, and return what came of it."""
    parser = cli.Parser("evaluate", "Evaluate a trained net on the test images, or on pictures.")
    parser.epilog = EPILOG
    parser.add_argument("run", metavar="RUN", help="run folder: args.json and net.params")
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="FILE",
        help="say what these are instead; - is standard input",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for confusion.png and mistakes.png; RUN if not given"
    )
    cli.add_ctx(parser)
    cli.add_num_workers(parser)
    cli.add_data_dir(parser)
    args = parser.parse_args(argv)
    if not args.images:
        return evaluate(args.run, args.ctx, args.num_workers, args.data_dir, args.out)
    answers = recognise(args.run, args.images, args.ctx)
    if None in answers:
        sys.exit(2)
    return answers


if __name__ == "__main__":
    cli.run(main)
