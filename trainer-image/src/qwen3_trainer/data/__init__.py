"""The data set: read from its source, checked row by row, written as uniform rows. No torch."""
