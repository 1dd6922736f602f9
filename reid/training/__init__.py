"""From thumbnails of the training splits to a checkpoint: batches, augmentation, losses, the loop, resuming.

Not here: networks (reid.models) and what is measured on them (reid.retrieval).
"""
