"""Scores of a labelled split: which boxes are matches, a table of its queries, intervals, slices, and comparison.

Not here: rankings without labels (``reid.ranking``), and charts of scores (``reid.reports``).
"""
