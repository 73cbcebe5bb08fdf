"""What a network is: the vocabulary, one module of tables per paper, and what is worked out from them without torch.

`build`, `layers` and `models` make torch modules and are imported only where one is wanted.
"""
