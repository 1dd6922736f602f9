"""SoccerNet player re-identification: the library that the scripts share.

Pure functions on arrays and tables; paths come in as arguments. Nothing happens on import.
"""
