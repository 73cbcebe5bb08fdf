"""A network as torch modules: `build` makes layers from a table, `models` makes whole networks of them."""
