"""Early exits: an image that an auxiliary head is sure of needs no more stages. What only this family has are such heads.

`choose` finds from which confidence on heads may answer, on labelled images, and keeps it in the model folder; `engine` runs a network so;
`table` is what the two share.
"""
