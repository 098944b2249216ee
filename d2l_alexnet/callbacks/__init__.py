"""What listens to a run: each callback is told of every batch and every epoch."""

from d2l_alexnet.callbacks.base import Callback

__all__ = ["Callback"]
