"""The program's own configs; in an installed package they are `assl_jax.configs`."""
