"""What the stages read instead of the zips: the index of a split, its thumbnail store and its actions.

Nothing here trains or compares.
"""
