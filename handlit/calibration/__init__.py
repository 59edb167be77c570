"""Fits what makes a method's distribution honest, on validation images, and keeps it as a file."""
