"""Other frameworks' checkpoints: enters a unit of a table, leaves the names of its tensors there; and the other way round."""
