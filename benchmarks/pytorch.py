"""The same net and the same work in eager PyTorch, which has an environment of its own."""

from __future__ import annotations

import argparse
import itertools
import time

import contestant
import numpy as np
import torch
from torch import nn


def build_net(args: argparse.Namespace) -> nn.Module:
    """Build the lecture's net."""
    size = ((args.resize - 11) // 4 + 1 - 3) // 2 + 1  # after the first pooling
    for _ in range(2):
        size = (size - 3) // 2 + 1
    net = nn.Sequential(
        nn.Conv2d(1, 96, 11, stride=4), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Flatten(),
        nn.Linear(256 * size * size, 4096), nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 10),
    )  # fmt: skip
    return net.to(device(args), memory_format=memory_format(args))


def device(args: argparse.Namespace) -> torch.device:
    """Return the device that was asked for."""
    return torch.device("cuda" if args.ctx == "gpu" else "cpu")


def memory_format(args: argparse.Namespace) -> torch.memory_format:
    """Return the memory format that was asked for."""
    return torch.channels_last if args.channels_last else torch.contiguous_format


def make_batch(args: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Make a batch of random pixels and labels on the device."""
    X, y = map(torch.from_numpy, contestant.random_batch(args.batch_size, args.resize))
    return X.to(device(args), memory_format=memory_format(args)), y.long().to(device(args))


def wait(args: argparse.Namespace) -> None:
    """Wait until the device has computed everything."""
    if args.ctx == "gpu":
        torch.cuda.synchronize()


def training(args: argparse.Namespace) -> contestant.Measurement:
    """Measure training on a batch that is already there, in images/s."""
    net, loss = build_net(args), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    batch = make_batch(args)

    def measure() -> float:
        start = time.perf_counter()
        loss_sum = torch.zeros((), device=device(args))
        correct = torch.zeros((), device=device(args))
        for X, y in itertools.repeat(batch, args.batches):
            optimizer.zero_grad(set_to_none=True)
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
    """Measure evaluation on a batch that is already there, in images/s."""
    net, batch = build_net(args).eval(), make_batch(args)

    @torch.inference_mode()
    def measure() -> float:
        start = time.perf_counter()
        correct = torch.zeros((), device=device(args))
        for X, y in itertools.repeat(batch, args.batches):
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
    """Measure PyTorch's loader doing the same work, in images/s."""
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


def matmul(args: argparse.Namespace) -> contestant.Measurement:
    """Measure the multiplication of two square float32 matrices, in multiply-adds/s."""
    a, b = torch.rand(4096, 4096), torch.rand(4096, 4096)

    def measure() -> dict[str, float]:
        start = time.perf_counter()
        torch.mm(a, b)
        return {"PyTorch's 4096 × 4096 × 4096": 4096**3 / (time.perf_counter() - start)}

    return measure, {}


KINDS: contestant.Kinds = dict(
    training=training, evaluation=evaluation, loading=loading, matmul=matmul
)

if __name__ == "__main__":
    contestant.main(KINDS, torch=torch.__version__, threads=torch.get_num_threads())
