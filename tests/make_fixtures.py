"""Write the values that PyTorch computes for the second lecture's nets and learning rates.

``python tests/make_fixtures.py`` needs PyTorch, which is not installed beside MXNet. The values are
in tests/fixtures/pytorch.npz, 13 kB. It has no weights and no images: this script and the tests
draw them from the same seeds.
"""

from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parent / "fixtures" / "pytorch.npz"
SAMPLED = 64  # values that are kept of each gradient
SHAPES = {"alexnet_cifar10": (2, 3, 64, 64), "convnet_cifar10": (8, 3, 32, 32)}
PLATEAU = dict(factor=0.1, patience=10, threshold=1e-4)


def draw_images(name):
    """Draw images in -1…1, and labels: float32 (N, C, H, W), int (N,)."""
    draws, shape = np.random.RandomState(1), SHAPES[name]
    return draws.uniform(-1, 1, shape).astype(np.float32), draws.randint(0, 10, shape[0])


def draw_weights(shapes):
    """Draw an array for each shape, scaled so that the net's outputs are neither huge nor tiny."""
    draws = np.random.RandomState(2)
    for shape in shapes:
        if len(shape) == 1:  # a bias, or an array of a BatchNorm layer
            yield draws.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            scale = (3 / np.prod(shape[1:])) ** 0.5
            yield draws.uniform(-scale, scale, shape).astype(np.float32)


def sample(array):
    """Choose some of an array's values by a fixed seed."""
    places = np.random.RandomState(3).randint(0, array.size, SAMPLED)
    return array.ravel()[places]


def draw_accuracies():
    """Draw sequences of accuracies that rise, fall and stay: (sequences, epochs)."""
    draws = np.random.RandomState(4)
    steps = draws.normal(0, 0.01, (20, 120)) + np.linspace(0.02, -0.002, 120)
    steps[0] = 0  # constant, until the learning rate is not cut any more
    return np.clip(np.cumsum(steps, axis=1), 0.1, 0.9).round(4)


def alexnet():
    """Build the lecture's AlexNet for CIFAR-10."""
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2), nn.ReLU()),
        nn.MaxPool2d(kernel_size=3, stride=2),
        *(nn.Conv2d(64, 192, kernel_size=5, padding=2), nn.ReLU()),
        nn.MaxPool2d(kernel_size=3, stride=2),
        *(nn.Conv2d(192, 384, kernel_size=3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, kernel_size=3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, kernel_size=3, padding=1), nn.ReLU()),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.AdaptiveAvgPool2d((6, 6)),
        nn.Flatten(),
        nn.Dropout(0.0),
        *(nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
        nn.Dropout(0.0),
        *(nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, 10),
    )


def convnet():
    """Build the lecture's ConvNet."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 32, kernel_size=3, stride=2, padding=1),
        *(nn.BatchNorm2d(32), nn.LeakyReLU(0.1)),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        *(nn.BatchNorm2d(64), nn.LeakyReLU(0.1)),
        nn.Conv2d(64, 64, kernel_size=3, stride=2, padding=1),
        *(nn.BatchNorm2d(64), nn.LeakyReLU(0.1)),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 128),
        *(nn.BatchNorm1d(128), nn.LeakyReLU(0.1)),
        nn.Dropout(0.0),
        nn.Linear(128, 10),
    )


def record_net(name, net):
    """Give a net's logits in predict and in training mode, its gradients and running averages."""
    import torch

    arrays = [array for key, array in net.state_dict().items() if "num_batches" not in key]
    for array, drawn in zip(arrays, draw_weights([tuple(array.shape) for array in arrays])):
        array.copy_(torch.from_numpy(drawn))
    images, labels = map(torch.from_numpy, draw_images(name))
    values = {f"{name}.predict.logits": net.eval()(images).detach().numpy()}
    y_hat = net.train()(images)
    torch.nn.functional.cross_entropy(y_hat, labels).backward()
    values[f"{name}.learn.logits"] = y_hat.detach().numpy()
    gradients = [p.grad.numpy() for p in net.parameters()]
    values[f"{name}.gradients"] = np.stack([sample(gradient) for gradient in gradients])
    values[f"{name}.norms"] = np.array(
        [np.linalg.norm(gradient.astype(np.float64)) for gradient in gradients]
    )
    running = [array.numpy() for key, array in net.state_dict().items() if "running" in key]
    values[f"{name}.running"] = np.concatenate([np.zeros(0, np.float32), *running])
    return values


def record_initial(name, net):
    """Give the largest absolute value of each initial array."""
    extremes = [float(p.detach().abs().max()) for p in net.parameters()]
    return {f"{name}.extremes": np.array(extremes)}


def record_plateau(accuracies):
    """Give the learning rates of PyTorch's ReduceLROnPlateau for each sequence of accuracies."""
    import torch

    rates = np.zeros_like(accuracies)
    for row, sequence in zip(rates, accuracies):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", **PLATEAU)
        for epoch, accuracy in enumerate(sequence):
            schedule.step(accuracy)
            row[epoch] = optimizer.param_groups[0]["lr"]
    return {"plateau.rates": rates}


def main():
    """Write the file."""
    import torch

    torch.manual_seed(0)
    values = record_plateau(draw_accuracies())
    for name, build in (("alexnet_cifar10", alexnet), ("convnet_cifar10", convnet)):
        net = build()
        values.update(record_initial(name, net))
        values.update(record_net(name, net))
    FIXTURES.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURES, torch=np.array(torch.__version__), **values)


if __name__ == "__main__":
    main()
