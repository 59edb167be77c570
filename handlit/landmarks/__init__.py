"""Hands in images and streams: boxes, handedness and 21 joints with their confidence, by an optional engine."""

from handlit.landmarks.detector import HandDetector
from handlit.landmarks.hand import DetectedHand

__all__ = ["DetectedHand", "HandDetector"]
