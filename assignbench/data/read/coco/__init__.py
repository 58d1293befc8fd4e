"""Annotation files in COCO's format, also of gigabytes and of any tool."""
