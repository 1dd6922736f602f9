"""Every colour that Python draws with. The gallery page has its own, at the top of its style sheet.

What has no meaning of its own has the colours of Okabe and Ito, which the colour-blind can distinguish. Nothing is
said by colour alone.
"""

BLUE, SKY_BLUE, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, PURPLE = "#E69F00", "#D55E00", "#CC79A7"

MATCH, NO_MATCH = "#0b6e38", "#b3261e"  # true and false, as on the page
QUERY = BLUE  # its frame
HIDDEN = "#707070"  # a class that is not known

TEXT, QUIET = "#202020", "#5a6068"
BLACK, WHITE = "black", "white"
GREY = "#8a8f96"  # lines that divide what belongs together
LINE = "#b0b0b0"  # between one thing and the next
GRID = "#e3e6ea"  # behind curves and points
NOTICE = "#fff1d0"  # behind a warning

HEAT = "inferno"  # of matplotlib: perceptually uniform, and its order survives in grey
