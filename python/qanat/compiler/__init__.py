"""From a configuration tree, or an API request, to plan objects: one pass per concern."""
