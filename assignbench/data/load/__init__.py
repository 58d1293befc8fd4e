"""Pictures to batches: decode, crop, colour, resize, pad, in an order that a seed decides."""
