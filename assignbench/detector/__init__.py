"""The one detector that all strategies share."""
