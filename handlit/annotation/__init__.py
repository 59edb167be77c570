"""Photographs and videos to folders of own data, whose labels are a detector's."""
