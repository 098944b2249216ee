"""Train the second lecture's AlexNet in PyTorch. `first_epochs.py` starts this script.

It needs PyTorch and NumPy only, so it runs in an environment without MXNet. The net and the
optimizer are those of benchmarks/pytorch.py. The images are resized, cropped and scaled as in the
lecture. The state is saved after every epoch, and a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import contestant  # noqa: E402
import pytorch  # noqa: E402

RECIPE = "cifar10-alexnet"
DROPOUT, *_ = contestant.PYTORCH[RECIPE]
_, RESIZE, MARGIN = contestant.IMAGES[RECIPE]
CROP = RESIZE - MARGIN


def parse() -> argparse.Namespace:
    """Parse the flags that `first_epochs.py` gives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help=".npz file with all images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    return parser.parse_args()


def main() -> None:
    """Train, and write a line of history.jsonl after each epoch."""
    args = parse()
    torch.manual_seed(args.seed)
    net = pytorch.alexnet_cifar10(DROPOUT)
    optimizer = pytorch.make_optimizer(RECIPE, net.parameters())
    data = np.load(args.images)
    sets = {name: (data[f"{name}_images"], data[f"{name}_labels"]) for name in ("train", "valid")}
    history = load(args.out, net, optimizer)
    while len(history) < args.epochs:
        begin = time.perf_counter()
        row = dict(epoch=len(history) + 1, **train_epoch(net, optimizer, *sets["train"], args))
        row.update({f"{name}_accuracy": accuracy(net, *sets[name]) for name in sets})
        row["seconds"] = time.perf_counter() - begin
        history.append(row)
        save(args.out, net, optimizer, history)
        print(
            "epoch {epoch}, loss {loss:.4f}, running train acc {running_train_accuracy:.3f}, train "
            "acc after the epoch {train_accuracy:.3f}, valid acc {valid_accuracy:.3f}, time "
            "{seconds:.1f} sec".format(**row),
            flush=True,
        )


def train_epoch(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    args: argparse.Namespace,
) -> dict[str, float]:
    """Train for an epoch without the last incomplete batch. Return a part of the history's row."""
    net.train()
    losses, correct, begin, size = [], 0, time.perf_counter(), args.batch_size
    order = torch.randperm(len(images)).numpy()
    for batch in order[: len(order) // size * size].reshape(-1, size):
        optimizer.zero_grad(set_to_none=True)
        y = torch.from_numpy(labels[batch]).long()
        y_hat = net(prepare(images[batch], True))
        loss = nn.functional.cross_entropy(y_hat, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        correct += int((y_hat.argmax(1) == y).sum())
    trained = len(losses) * size
    return dict(
        loss=sum(losses) / len(losses),
        running_train_accuracy=correct / trained,
        images_per_second=trained / (time.perf_counter() - begin),
        learning_rate=optimizer.param_groups[0]["lr"],
    )


@torch.inference_mode()
def accuracy(net: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of the images that the net predicts correctly, cropped in the middle."""
    net.eval()
    correct = 0
    for batch in np.array_split(np.arange(len(images)), -(-len(images) // 256)):
        predicted = net(prepare(images[batch], False)).argmax(1).numpy()
        correct += int((predicted == labels[batch]).sum())
    return correct / len(images)


def prepare(images: np.ndarray, at_random: bool) -> torch.Tensor:
    """Resize uint8 images (N, 32, 32, 3), crop them, and scale them to -1…1: (N, 3, 64, 64)."""
    X = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    X = nn.functional.interpolate(X, (RESIZE, RESIZE), mode="bilinear").round()
    corners = torch.full((len(X), 2), (RESIZE - CROP) // 2)
    if at_random:
        corners = torch.randint(RESIZE - CROP + 1, (len(X), 2))
    cropped = [x[:, i : i + CROP, j : j + CROP] for x, (i, j) in zip(X, corners.tolist())]
    return torch.stack(cropped) / 127.5 - 1


def save(out: Path, net: nn.Module, optimizer: torch.optim.Optimizer, history: list[dict]) -> None:
    """Write the history, then the state from which the run goes on.

    If it is killed between the two, the epoch is trained again and the history written again.
    """
    lines = (json.dumps(row) + "\n" for row in history)
    (out / "history.jsonl").write_text("".join(lines))
    states = dict(net=net.state_dict(), optimizer=optimizer.state_dict())
    partial = out / "state.pt.partial"
    torch.save(dict(states, generator=torch.get_rng_state(), history=history), partial)
    partial.replace(out / "state.pt")


def load(out: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict]:
    """Read the state of a run that was stopped, and return its history; [] for a new run."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "state.pt").exists():
        return []
    state = torch.load(out / "state.pt")
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["generator"])
    return state["history"]


if __name__ == "__main__":
    main()
