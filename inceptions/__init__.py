"""The Inception family of image networks."""
