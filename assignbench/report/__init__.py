"""One page that shows a comparison: what is computed for it, its charts, and how it is put together."""
