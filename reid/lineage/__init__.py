"""Where a result comes from: its provenance, tracing a file back, comparing files with what was recorded of them.

Not here: running anything.
"""
