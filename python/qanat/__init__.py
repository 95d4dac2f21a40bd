"""A programmable layer-4 gateway: nginx stream configuration, changed live, scripted in Python."""

__version__ = "0.1.0"
