"""What training and ranking share: embedding files, distances between rows, the order of boxes, and scores of it.

Not here: how embeddings are computed (``reid.models``), and what is done to distances (``reid.ranking``).
"""
