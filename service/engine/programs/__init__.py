"""Programs that compute one batch: with torch, ONNX Runtime or CUDA graphs."""
