"""Export of a trained net to ONNX or to MXNet's own format."""
