"""What a folder is: which format its files are in, and which of them are for training."""
