"""One module a paper: its networks as tables. The only room that somebody who adds a network enters."""
