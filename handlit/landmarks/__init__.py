"""Hands in images and streams: boxes, handedness and 21 joints with their confidence, by an optional engine."""

from handlit.landmarks.detector import HandDetector
from handlit.landmarks.hand import DetectedHand
from handlit.landmarks.tracker import HandTracker

__all__ = ["DetectedHand", "HandDetector", "HandTracker"]
