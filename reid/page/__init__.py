"""The gallery page of a split: its rankings as HTML and scripts that open from disk.

Not here: single figures and sheets (``reid.reports``).
"""
