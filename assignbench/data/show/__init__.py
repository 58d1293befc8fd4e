"""Pictures with their objects drawn in."""
