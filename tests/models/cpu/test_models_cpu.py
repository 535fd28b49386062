"""The switch between plain and CPU forms: what decides, and what reaches the compiler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models.conv import convolve
from assl_jax.models.cpu import choose, compiler_options, materialise, plain_forms
from assl_jax.models.halving import max_pool
from assl_jax.models.norm import BatchNorm


def twice(x, *, shift=0.0):
    return 2 * x + shift


def thrice(x, *, shift=0.0):
    return 3 * x + shift


def lowered(function, platform, *arguments):
    """The StableHLO of a program for `platform`, and the HLO that XLA's passes begin with."""
    low = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,))
    return low.as_text(), low.compiler_ir("hlo").as_hlo_text()


def test_the_platform_that_a_function_is_lowered_for_decides():
    def gradient(x):
        return jax.grad(lambda x: choose(jnp.sin, jnp.tanh, x).sum())(x)

    x = jnp.ones(3)
    for platform, has, lacks in (
        ("cpu", "tanh", "cosine"),
        ("cuda", "cosine", "tanh"),
        ("rocm", "cosine", "tanh"),
        ("tpu", "cosine", "tanh"),
    ):
        _, hlo = lowered(gradient, platform, x)
        assert f" {has}(" in hlo and f" {lacks}(" not in hlo and "conditional" not in hlo


def test_settings_reach_both_forms_compiled_or_not():
    run = {"compiled": jax.jit(lambda x: choose(twice, thrice, x, shift=1.0))}
    run["eager"] = lambda x: choose(twice, thrice, x, shift=1.0)
    for function in run.values():
        assert function(5.0) == 16.0
        with plain_forms():
            assert function(5.0) == 11.0
        assert function(5.0) == 16.0


def test_each_form_is_traced_once_for_a_shape():
    traced = []

    def plain(x):
        traced.append(x.shape)
        return x

    def on_cpu(x):
        return x + 1

    jax.jit(lambda x: choose(plain, on_cpu, choose(plain, on_cpu, x))).trace(jnp.ones(3))
    assert traced == [(3,)]


OPERATIONS = {
    "convolution": lambda x: convolve(x, jnp.ones((3, 3, 3, 2, 4)), (1, 1, 1)),
    "max-pooling": lambda x: max_pool(x, 3, 2, 1),
    "BatchNorm": lambda x: BatchNorm().init_with_output(jax.random.key(0), x, train=True)[0],
    "materialise": materialise,
}
PLAIN = {  # operations of the plain form that the CPU form does without
    "convolution": "stablehlo.convolution",
    "max-pooling": "stablehlo.reduce_window",
    "BatchNorm": None,
    "materialise": None,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_cpu_has_forms_of_its_own(name):
    def gradient(x):
        return jax.grad(lambda x: jnp.sin(OPERATIONS[name](x)).sum())(x)

    x = jnp.ones((2, 4, 4, 4, 2))
    texts = {p: lowered(gradient, p, x) for p in ("cpu", "cuda", "tpu")}
    assert all("conditional" not in hlo for _, hlo in texts.values())
    for platform in ("cuda", "tpu"):
        text, _ = texts[platform]
        assert "optimization_barrier" not in text and "dot_general" not in text
        assert PLAIN[name] is None or PLAIN[name] in text
    cpu, _ = texts["cpu"]
    assert "optimization_barrier" in cpu or "dot_general" in cpu or name == "max-pooling"
    assert "stablehlo.reduce_window" not in cpu
    with plain_forms():
        plain, _ = lowered(gradient, "cpu", x)
    assert "stablehlo.case" not in plain and "optimization_barrier" not in plain
    assert PLAIN[name] is None or PLAIN[name] in plain


def test_options_depend_on_the_platform():
    assert compiler_options("cpu").keys() == {
        "xla_cpu_experimental_ynn_fusion_type",
        "xla_disable_hlo_passes",
    }
    for platform in ("gpu", "cuda", "rocm", "tpu", "METAL"):
        assert compiler_options(platform) is None


def test_materialise_changes_no_value():
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    np.testing.assert_array_equal(jax.jit(materialise)(x), x)
    np.testing.assert_array_equal(jax.grad(lambda x: (materialise(x) ** 2).sum())(x), 2 * x)
