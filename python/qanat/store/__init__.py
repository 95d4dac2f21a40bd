"""Where state lives: one protocol, and a module per kind of store."""
