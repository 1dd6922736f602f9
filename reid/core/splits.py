"""The splits of the data set, and what can be done with each."""

SPLITS = ("train", "valid", "test", "challenge")
LABELLED = ("train", "valid", "test")  # the labels of challenge are hidden
RANKED = ("valid", "test", "challenge")  # have queries and a gallery
SCORED = ("valid", "test")  # have queries whose labels are known
SUBMITTED = ("test", "challenge")  # the rankings that the challenge asks for
