"""Teaches the language model a plant's own history, and proves on days held out that it is the better for it."""
