"""Networks from image to embedding, the weights that they start from, their checkpoint files, and embedding a split.

Not here: training them, and what is done with embeddings.
"""
