"""Studies: a short file of changes to a base recipe becomes rows, trainings, and a table that says what stays."""
