"""Huizhen（会诊）：the application. The only place where everything meets."""

__version__ = "0.1.0"
