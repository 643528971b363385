"""Customers of a managed service provider, described in YAML, made true on real servers."""

__version__ = "0.1.0"
