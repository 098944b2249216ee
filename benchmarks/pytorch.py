"""The same nets in PyTorch, for the comparison. PyTorch is installed in a separate environment."""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any, Iterable

import contestant
import numpy as np
import torch
from torch import nn


def relu(layer: nn.Module) -> nn.Sequential:
    """Add a ReLU after a layer."""
    return nn.Sequential(layer, nn.ReLU(inplace=True))


def alexnet(resize: int, dropout: float) -> nn.Module:
    """Build the first lecture's net."""
    side = ((resize - 11) // 4 + 1 - 3) // 2 + 1  # after the first pooling
    for _ in range(2):
        side = (side - 3) // 2 + 1
    return nn.Sequential(
        relu(nn.Conv2d(1, 96, 11, stride=4)),
        nn.MaxPool2d(3, stride=2),
        relu(nn.Conv2d(96, 256, 5, padding=2)),
        nn.MaxPool2d(3, stride=2),
        relu(nn.Conv2d(256, 384, 3, padding=1)),
        relu(nn.Conv2d(384, 384, 3, padding=1)),
        relu(nn.Conv2d(384, 256, 3, padding=1)),
        nn.MaxPool2d(3, stride=2),
        nn.Flatten(),
        relu(nn.Linear(256 * side * side, 4096)),
        nn.Dropout(dropout),
        relu(nn.Linear(4096, 4096)),
        nn.Dropout(dropout),
        nn.Linear(4096, 10),
    )


def alexnet_cifar10(dropout: float) -> nn.Module:
    """Build the second lecture's AlexNet."""
    return nn.Sequential(
        relu(nn.Conv2d(3, 64, 11, stride=4, padding=2)),
        nn.MaxPool2d(3, stride=2),
        relu(nn.Conv2d(64, 192, 5, padding=2)),
        nn.MaxPool2d(3, stride=2),
        relu(nn.Conv2d(192, 384, 3, padding=1)),
        relu(nn.Conv2d(384, 256, 3, padding=1)),
        relu(nn.Conv2d(256, 256, 3, padding=1)),
        nn.MaxPool2d(3, stride=2),
        nn.AdaptiveAvgPool2d(6),
        nn.Flatten(),
        nn.Dropout(dropout),
        relu(nn.Linear(9216, 4096)),
        nn.Dropout(dropout),
        relu(nn.Linear(4096, 4096)),
        nn.Linear(4096, 10),
    )


def convnet_cifar10(dropout: float) -> nn.Module:
    """Build the second lecture's ConvNet."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Conv2d(64, 64, 3, stride=2, padding=1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 128),
        nn.BatchNorm1d(128),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Dropout(dropout),
        nn.Linear(128, 10),
    )


def build_net(args: argparse.Namespace) -> Any:
    """Build a recipe's net, and compile it if asked to."""
    dropout, *_ = contestant.PYTORCH[args.recipe]
    if args.recipe == "cifar10-alexnet":
        net = alexnet_cifar10(dropout)
    elif args.recipe == "cifar10-convnet":
        net = convnet_cifar10(dropout)
    else:
        net = alexnet(args.resize, dropout)
    net = net.to(device(args), memory_format=memory_format(args))
    return torch.compile(net) if args.compile else net


def make_optimizer(recipe: str, parameters: Iterable) -> torch.optim.Optimizer:
    """Make a recipe's optimizer."""
    _, name, settings = contestant.PYTORCH[recipe]
    return getattr(torch.optim, name)(parameters, fused=True, **settings)


def precision(args: argparse.Namespace) -> Any:
    """Return a context manager in which nets compute in the chosen number format."""
    on = args.dtype == "bfloat16"
    return torch.autocast(device(args).type, torch.bfloat16, enabled=on)


def device(args: argparse.Namespace) -> torch.device:
    """Return the chosen device."""
    return torch.device("cuda" if args.ctx == "gpu" else "cpu")


def memory_format(args: argparse.Namespace) -> torch.memory_format:
    """Return the chosen memory format."""
    return torch.channels_last if args.channels_last else torch.contiguous_format


def make_batch(args: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Make a batch of random pixels and labels on the device."""
    X, y = map(torch.from_numpy, contestant.random_batch(args))
    return X.to(device(args), memory_format=memory_format(args)), y.long().to(device(args))


def wait(args: argparse.Namespace) -> None:
    """Wait until the device has computed everything."""
    if args.ctx == "gpu":
        torch.cuda.synchronize()


def training(args: argparse.Namespace) -> contestant.Measurement:
    """Measure training on a batch that is already in memory, in images/s."""
    net, loss = build_net(args), nn.CrossEntropyLoss()
    optimizer = make_optimizer(args.recipe, net.parameters())
    batch = make_batch(args)

    def measure() -> float:
        start = time.perf_counter()
        loss_sum = torch.zeros((), device=device(args))
        correct = torch.zeros((), device=device(args))
        for X, y in itertools.repeat(batch, args.batches):
            optimizer.zero_grad(set_to_none=True)
            with precision(args):
                y_hat = net(X)
                l = loss(y_hat, y)
            l.backward()
            optimizer.step()
            loss_sum += l.detach() * len(y)
            correct += (y_hat.argmax(1) == y).sum()
        wait(args)
        return args.batches * args.batch_size / (time.perf_counter() - start)

    return measure, {}


def evaluation(args: argparse.Namespace) -> contestant.Measurement:
    """Measure evaluation on a batch that is already in memory, in images/s."""
    net, batch = build_net(args).eval(), make_batch(args)

    @torch.inference_mode()
    def measure() -> float:
        start = time.perf_counter()
        correct = torch.zeros((), device=device(args))
        for X, y in itertools.repeat(batch, args.batches):
            with precision(args):
                correct += (net(X).argmax(1) == y).sum()
        wait(args)
        return args.batches * args.batch_size / (time.perf_counter() - start)

    return measure, {}


class Resized(torch.utils.data.Dataset):
    """The training images, resized and scaled to 0…1 one after the other."""

    def __init__(self, path: str, resize: int) -> None:
        with np.load(path) as file:
            self._images, self._labels = file["images"], file["labels"]
        self._resize = resize

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(self._images[i]).permute(2, 0, 1)[None].float() / 255
        size = (self._resize, self._resize)
        return nn.functional.interpolate(image, size, mode="bilinear")[0], int(self._labels[i])


def loading(args: argparse.Namespace) -> contestant.Measurement:
    """Measure PyTorch's loader with the same preprocessing, in images/s."""
    train_set = Resized(args.images, args.resize)
    train_iter = torch.utils.data.DataLoader(
        train_set,
        args.batch_size,
        shuffle=True,
        num_workers=args.num_workers,
        persistent_workers=args.num_workers > 0,
    )

    def measure() -> float:
        start = time.perf_counter()
        for X, _ in train_iter:
            X.to(device(args))
        wait(args)
        return len(train_set) / (time.perf_counter() - start)

    return measure, {}


KINDS: contestant.Kinds = dict(training=training, evaluation=evaluation, loading=loading)

if __name__ == "__main__":
    contestant.main(KINDS, torch=torch.__version__, threads=torch.get_num_threads())
