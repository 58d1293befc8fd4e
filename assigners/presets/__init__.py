"""The detectors that the strategies were published as: data, one file a strategy."""
