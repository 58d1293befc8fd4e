"""Where strategies differ: numbers by class and by group of objects, types of errors, calibration."""
