"""How fast a model runs here, against what people use today: enters a model folder, leaves rates, latencies, ratios, a page."""
