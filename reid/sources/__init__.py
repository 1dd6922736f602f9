"""Raw zips that come from elsewhere: the SoccerNet download, or a folder of the user's own.

What is drawn here instead is in ``reid.synthetic``.
"""
