"""The commands of `python -m assl_jax`; each file has a function `main(argv)`."""
