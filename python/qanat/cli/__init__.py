"""The command `qanat`: its own subcommands, and nginx's command line."""
