"""A network as an SVG document: `page` puts together what `poster` and `figure` draw, in the words of `labels` and the shapes of `svg`."""
