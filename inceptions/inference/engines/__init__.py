"""Ways to run a network, one file each behind one protocol (`base.Engine`): torch, compiled, OpenVINO, ONNX Runtime."""
