"""How good a model is: enters a model and labelled images, leaves numbers, plots and a report."""
