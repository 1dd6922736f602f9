"""Where a result comes from: its provenance, tracing a file back, comparing files with what was recorded of them;
model cards, and the RO-Crate of a run.

Not here: running anything.
"""
