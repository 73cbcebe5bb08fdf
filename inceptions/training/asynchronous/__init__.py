"""Asynchronous SGD with a parameter server, on Ray: `run` is what the loop calls, `driver` gives out batches, `worker` learns, `server` keeps."""
