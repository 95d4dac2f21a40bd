"""The live gateway: state, changes, revisions, and the engine that carries them out."""
