"""The documentation site: pages generated from the code, drawings, and what is checked of the built site."""
