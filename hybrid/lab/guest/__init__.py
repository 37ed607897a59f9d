"""
A machine within this one that has OpenZFS, its library and a current LXC, emulated by QEMU without help of the CPU.

`recipe` says what is on its disk, `build` makes that, `payload` is what a run brings along, `machine` boots it and
brings the results back, `report` sums them up. All of it blocks: `make test-openzfs` runs it, never a node.
"""
