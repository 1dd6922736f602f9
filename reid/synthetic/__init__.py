"""Raw zips that need no download: drawn matches in the layout of a SoccerNet-ReID split.

Nothing but the zip leaves this package.
"""
