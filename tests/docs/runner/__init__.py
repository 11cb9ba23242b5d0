"""Reads the Markdown, and runs the blocks in it."""
