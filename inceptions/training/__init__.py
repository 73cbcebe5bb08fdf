"""From a folder of pictures to a model folder: enters a `Network`, images and a `Recipe`, leaves a run folder."""
