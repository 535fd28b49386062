"""What a program compiled for TPUs says of the traffic between chips."""

import pytest

from benchmarks.programs import collectives
from benchmarks.slices import seconds_between

# As the TPU's compiler writes them: layouts in braces, a tuple for gradients that go together.
PROGRAM = """
ENTRY %main {
  %all-reduce = f32[16]{0:T(128)S(1)} all-reduce(%sum), channel_id=1, to_apply=%add
  %fusion = f32[16]{0:T(128)S(1)} fusion(%all-reduce), kind=kLoop, calls=%fused
  %all-reduce.1 = (f32[3,3,2,4]{3,2,1,0:T(8,128)}, bf16[10]{0}) all-reduce(%a, %b), channel_id=2
  %start = (bf16[4,8]{1,0}, bf16[32,8]{1,0}) all-gather-start(%x), dimensions={0}
  ROOT %done = bf16[32,8]{1,0:T(8,128)(2,1)} all-gather-done(%start)
}
"""


def test_collectives_are_counted_once_with_the_bytes_of_their_results():
    reduced = 16 * 4 + (3 * 3 * 2 * 4 * 4 + 10 * 2)
    assert collectives(PROGRAM) == {"all-reduce": (2, reduced), "all-gather": (1, 32 * 8 * 2)}


def test_a_ring_sends_all_but_one_share():
    sent = {"all-reduce": (1, 200_000_000), "all-gather": (3, 100_000_000)}
    # 2 x 7/8 x 0.2 GB and 7/8 x 0.1 GB, at 200 GB/s.
    assert seconds_between(sent, 8) == pytest.approx((0.35 + 0.0875) / 200)
    assert seconds_between(sent, 1) == 0
