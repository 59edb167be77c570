"""Photographs and videos to drawings, meshes and numbers of their hands: what `python main.py demo` does."""
