"""The data set: a source opens a file, a format makes rows of it, checked one by one. No torch."""
