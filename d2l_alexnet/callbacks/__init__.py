"""Callbacks: they are called for every batch and every epoch of a run."""

from d2l_alexnet.callbacks.base import Callback

__all__ = ["Callback"]
