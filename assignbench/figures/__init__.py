"""``assignbench figure``: what runs have learned, drawn on pictures. What each shows: docs/guide/figures.md."""
