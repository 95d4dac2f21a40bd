"""The nginx grammar and the directive tables: from text to a checked tree."""
