"""`python -m qanat`: the same as the command `qanat`."""

from qanat.cli.main import main

main()
