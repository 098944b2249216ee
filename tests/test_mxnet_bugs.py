"""What docs/porting-mxnet.md says of MXNet. A test that fails asks for a change of that page."""

import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import nn


def gradient_of_max_pooling(image, train_mode):
    """Give the gradient of the sum of the outputs, for windows of 2 x 2."""
    X = nd.array(image, ctx=mx.cpu())
    X.attach_grad()
    with autograd.record(train_mode=train_mode):
        y = nn.MaxPool2D(2)(X)
    y.backward()
    return X.grad.asnumpy()


def right_gradient(image):
    """1 where a pixel is the largest of its window, 0 elsewhere."""
    largest = image.reshape(1, 1, 3, 2, 3, 2).max(axis=(3, 5))
    return (image == largest.repeat(2, axis=2).repeat(2, axis=3)).astype(np.float32)


def test_max_pooling_has_a_wrong_gradient_in_predict_mode_and_the_right_one_in_training_mode():
    images = np.random.RandomState(0).permutation(8 * 36).reshape(8, 1, 1, 6, 6)
    in_predict_mode = [gradient_of_max_pooling(image, train_mode=False) for image in images]
    in_training_mode = [gradient_of_max_pooling(image, train_mode=True) for image in images]
    right = [right_gradient(image) for image in images]
    np.testing.assert_array_equal(in_training_mode, right)
    assert not np.array_equal(in_predict_mode, right), "now right; change docs/porting-mxnet.md"
