"""Asynchronous SGD with a parameter server on Ray: `run` is called by the loop, `driver` gives out batches, `worker` learns."""
