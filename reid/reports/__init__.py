"""What is drawn and counted for people: statistics of the data, figures of scores and trainings, maps, explanations.

Not here: the scores themselves (``reid.evaluation``), and the page of the rankings (``reid.page``).
"""
