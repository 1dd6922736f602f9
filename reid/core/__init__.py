"""What every other package uses: errors, files, tables, processes, the registry, names of splits and constants.

Nothing here knows what a zip, an index or a model looks like.
"""
