"""What runs one batch: torch, ONNX Runtime, CUDA graphs."""
