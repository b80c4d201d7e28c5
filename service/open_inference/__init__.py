"""The Open Inference Protocol v2 over HTTP with binary tensors, as Triton, KServe and MLServer speak it."""
