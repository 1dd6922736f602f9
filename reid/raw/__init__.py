"""The raw zips as SoccerNet publishes them: their file names and their bytes.

Where zips come from is in ``reid.sources`` and ``reid.synthetic``; what is made of them, in ``reid.data``.
"""
