"""Models at work: enters a model folder and image files, leaves classes with probabilities."""
