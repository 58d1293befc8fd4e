"""The data set that is drawn here."""
