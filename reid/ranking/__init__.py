"""From embeddings to the ranking JSON of a split: distances, post-processing, tuning, the checked file.

Not here: labels and scores (``reid.retrieval.metrics`` computes them, ``reid.evaluation`` reports them).
"""
